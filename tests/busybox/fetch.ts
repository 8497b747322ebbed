/**
 * `bun tests/busybox/fetch.ts`: gets BusyBox's own test suite, and the static binary that was built
 * from the same source, with apt: whatever archive of the distribution this machine is set up for.
 * The system stays as it is: apt works in a directory of its own, nothing is installed, and nobody
 * has to be root. What was fetched is kept below node_modules/.cache; remove it to fetch again.
 */
import {
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import { packageSources } from "./package-sources.ts";

/** The suite and the binary it tests. */
export interface Suite {
  /** Holds `testsuite`, `ash_test` and `config`, the binary's build configuration. */
  readonly directory: string;
  readonly busybox: string;
  /** Of the source package. */
  readonly version: string;
}

const binaryPackage = "busybox-static";
/** One of apt's commands; it retries and gives up by itself long before that. */
const commandTimeoutMs = 5 * 60_000;

const cache = join(import.meta.dir, "../../node_modules/.cache");
const kept = join(cache, "prefork-busybox");

if (import.meta.main) {
  try {
    const { version, directory } = await fetchSuite();
    process.stdout.write(`BusyBox ${version}: ${directory}\n`);
  } catch (error) {
    process.stderr.write(`error: ${error instanceof Error ? error.message : error}\n`);
    process.exitCode = 1;
  }
}

/**
 * The suite, out of the cache when it is there.
 * @throws Error whose message is one line: what cannot be had, and what apt says about it.
 */
export async function fetchSuite(): Promise<Suite> {
  if (!existsSync(kept)) await fetchInto(kept);
  return {
    directory: kept,
    busybox: join(kept, "busybox"),
    version: readFileSync(join(kept, "version"), "utf8").trim(),
  };
}

/** Everything happens in a directory beside `target` that gets this name when all is there. */
async function fetchInto(target: string): Promise<void> {
  mkdirSync(cache, { recursive: true });
  const directory = mkdtempSync(join(cache, "fetching-busybox-"));
  try {
    const suite = join(directory, "suite");
    mkdirSync(suite);
    const version = await unpack(await download(directory), directory, suite);
    writeFileSync(join(suite, "version"), `${version}\n`);
    if (!existsSync(target)) renameSync(suite, target); // else another run was faster
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** What apt has brought. */
interface Packages {
  readonly binary: string;
  /** The authors' source, and what the distribution adds. */
  readonly upstream: string;
  readonly packaging: string;
  readonly version: string;
}

async function download(directory: string): Promise<Packages> {
  if (Bun.which("apt-get") === null) throw unavailable("there is no apt-get on this machine");
  const downloads = join(directory, "downloads");
  for (const name of ["downloads", "lists", "cache", "sources"]) mkdirSync(join(directory, name));
  writeFileSync(join(directory, "status"), "");
  const sources = readSources();
  for (const { name, text } of sources) writeFileSync(join(directory, "sources", name), text);
  const options = [
    "Dir::Etc::SourceList=/dev/null",
    `Dir::Etc::SourceParts=${join(directory, "sources")}`,
    `Dir::State::Lists=${join(directory, "lists")}`,
    `Dir::State::Status=${join(directory, "status")}`,
    `Dir::Cache=${join(directory, "cache")}`,
    // Its unprivileged user cannot write here.
    "APT::Sandbox::User=root",
    "APT::Update::Error-Mode=any",
    "Acquire::Languages=none",
    "Acquire::Retries=3",
    "Acquire::http::Timeout=30",
    "Acquire::https::Timeout=30",
  ].flatMap((option) => ["-o", option]);
  const apt = async (...words: string[]): Promise<string> =>
    await run(["apt-get", "-q", ...options, ...words], downloads);

  // An archive that lacks one of its parts may have all of ours: the failure is told if it matters.
  const updateFailure = await apt("update").then(
    () => undefined,
    (error: unknown) => error,
  );
  try {
    await apt("download", binaryPackage);
    return await downloadSource(apt, downloads);
  } catch (error) {
    throw updateFailure ?? error;
  }
}

/** The source of the binary package that has been downloaded. */
async function downloadSource(
  apt: (...words: string[]) => Promise<string>,
  downloads: string,
): Promise<Packages> {
  const binary = onlyOne(downloads, ".deb");
  const field = await run(["dpkg-deb", "--field", binary, "Source"], downloads);
  // "busybox (1:1.2-3)": the binary may have been built again, with a version of its own.
  const [, source, version] = /^(\S+) \((\S+)\)$/.exec(field.trim()) ?? [];
  if (source === undefined || version === undefined) throw unavailable(`no source in "${field}"`);
  await apt("source", "--download-only", `${source}=${version}`);
  const upstream = onlyOne(downloads, ".orig.tar.bz2");
  return { binary, upstream, packaging: onlyOne(downloads, ".debian.tar.xz"), version };
}

/** Takes out what is needed. BusyBox itself unpacks: there may be no bzip2 or xz for tar to use. */
async function unpack(packages: Packages, directory: string, suite: string): Promise<string> {
  const { binary, upstream, packaging, version } = packages;
  const rooted = join(directory, "binary");
  await run(["dpkg-deb", "--extract", binary, rooted], directory);
  const busybox = join(suite, "busybox");
  const unpacked = ["bin/busybox", "usr/bin/busybox"].find((path) =>
    existsSync(join(rooted, path)),
  );
  if (unpacked === undefined) throw unavailable(`no busybox in ${basename(binary)}`);
  renameSync(join(rooted, unpacked), busybox);
  await run([busybox, "tar", "-xjf", upstream], directory);
  await run([busybox, "tar", "-xJf", packaging], directory);
  const top = readdirSync(directory).find((name) => /^busybox-\d/.test(name));
  if (top === undefined) throw unavailable(`no source tree in ${basename(upstream)}`);
  const take = (from: string, to: string): void =>
    renameSync(join(directory, from), join(suite, to));
  take(`${top}/testsuite`, "testsuite");
  take(`${top}/shell/ash_test`, "ash_test");
  take("debian/config/pkg/static", "config");
  return version;
}

/** Where this machine gets its packages from, with the sources of these packages. */
function readSources(): { name: string; text: string }[] {
  const files = globSync([
    "/etc/apt/sources.list",
    "/etc/apt/sources.list.d/*.list",
    "/etc/apt/sources.list.d/*.sources",
  ]);
  const release = readFileSync("/etc/os-release", "utf8");
  const codename = /^VERSION_CODENAME="?([^"\n]*)/m.exec(release)?.[1];
  const sources = files.flatMap((path) => {
    const text = packageSources(basename(path), readFileSync(path, "utf8"), codename);
    return text === "" ? [] : [{ name: basename(path), text }];
  });
  if (sources.length === 0) {
    throw unavailable(`no package archive of "${codename}" is named in /etc/apt`);
  }
  return sources;
}

function onlyOne(directory: string, suffix: string): string {
  const found = readdirSync(directory).filter((name) => name.endsWith(suffix));
  const [name] = found;
  if (name === undefined || found.length > 1) {
    throw unavailable(`apt-get brought ${found.length} files *${suffix}`);
  }
  return join(directory, name);
}

async function run(command: readonly string[], cwd: string): Promise<string> {
  const child = Bun.spawn([...command], {
    cwd,
    env: { ...process.env, LC_ALL: "C" },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: commandTimeoutMs,
    killSignal: "SIGKILL",
  });
  const [stdout, stderr, status] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (status === 0) return stdout;
  const said = `${stderr}\n${stdout}`.split("\n").filter((line) => line.trim() !== "");
  const reason = said.find((line) => line.startsWith("E: ")) ?? said[0] ?? `status ${status}`;
  // Without the options, which are ours and long.
  const words = command.filter((word, index) => word !== "-o" && command[index - 1] !== "-o");
  throw unavailable(`${words.join(" ")}: ${reason}`);
}

function unavailable(reason: string): Error {
  return new Error(`BusyBox's test suite cannot be had: ${reason}`);
}
