/** The program: first the client, which is done when it needs no more, and then all that there is. */
import { start } from "./pfc.ts";

const { enterFace } = await import("./faces.ts");
// Here and nowhere else: what becomes of it, and what it exports, Bun treats as of any program's first module.
const program: { readonly default?: unknown } = await import(await enterFace(start));
// biome-ignore lint/style/noDefaultExport: the runtime serves what a program exports under this name
export default program.default;
