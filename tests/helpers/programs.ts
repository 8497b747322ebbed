/**
 * Programs that the tests drive and that a small machine lacks: installed with apt when this is
 * loaded. Where that cannot be done, `lacking` says why, and tests of what lacks are to be skipped.
 */

interface Wanted {
  /** It goes by one of these names. */
  readonly names: readonly string[];
  /** The Debian package that brings it. */
  readonly package: string;
}

const wanted = {
  zsh: { names: ["zsh"], package: "zsh" },
  vim: { names: ["vim", "vim.tiny"], package: "vim-tiny" },
  less: { names: ["less"], package: "less" },
  top: { names: ["top"], package: "procps" },
} as const satisfies Record<string, Wanted>;

type ProgramName = keyof typeof wanted;

/** Where programs are looked for: the sandbox's PATH has these, too. */
const searchPath = "/usr/local/bin:/usr/bin:/bin";

/** apt waits so long for another apt. */
const lockTimeoutSeconds = 120;

/** Why programs are missing, in one line; nothing when all are there. */
export const lacking: string = installWhatLacks();

/** The programs by name: their paths, undefined for one that could not be had. */
export const programs: Readonly<Record<ProgramName, string | undefined>> = {
  zsh: find(wanted.zsh),
  vim: find(wanted.vim),
  less: find(wanted.less),
  top: find(wanted.top),
};

/** Any other program, if the machine happens to have it. */
export function findProgram(name: string): string | undefined {
  return Bun.which(name, { PATH: searchPath }) ?? undefined;
}

function find({ names }: Wanted): string | undefined {
  return names.map(findProgram).find((path) => path !== undefined);
}

function installWhatLacks(): string {
  const missing = missingPackages();
  if (missing.length === 0) return "";
  const lockOption = `-oDPkg::Lock::Timeout=${lockTimeoutSeconds}`;
  const install = ["install", "-y", "--no-install-recommends", lockOption, ...missing];
  // A fresh machine has no lists of packages, or old ones: fetched when it fails without.
  let complaint = aptGet(install);
  if (complaint !== "") {
    aptGet(["update"]);
    complaint = aptGet(install);
  }
  const left = missingPackages().join(", ");
  return left === "" ? "" : `unable to install ${left}: ${complaint || "it brought no program"}`;
}

function missingPackages(): string[] {
  const missing = Object.values(wanted).filter((program) => find(program) === undefined);
  return missing.map((program) => program.package);
}

/** @returns why it failed, in one line, or nothing. */
function aptGet(words: readonly string[]): string {
  try {
    const { exitCode, stderr } = Bun.spawnSync(["apt-get", ...words], {
      env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
      stdin: "ignore",
    });
    if (exitCode === 0) return "";
    const lines = stderr.toString().split("\n");
    return lines.find((line) => line.startsWith("E: ")) ?? `apt-get ended with ${exitCode}`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
