/** The program: first the client, which is done when it needs no more, and then all that there is. */
import { start } from "./pfc.ts";

const { enterFace } = await import("./faces.ts");
// Here and nowhere else: what becomes of it, Bun treats as of any program's first module.
await import(await enterFace(start));
