/**
 * An execution context as a value: all that a program is started with, what it then does, and how it
 * ends. It is made by hand (fixed-cases.ts) or by chance (arbitrary.ts), and is plain data, so that a
 * failing one can be made smaller and printed.
 *
 * Byte strings are texts of one character a byte (latin1). In paths and words `{case}` stands for
 * the directory that is made anew for each run, `{observer}` for the program of observe.pl.
 */

/** Bytes as a text of one character each. */
export type ByteText = string;

export interface Context {
  readonly command: Command;
  readonly args: readonly ByteText[];
  /** Entries, as they are; behind `PATH=` when the command has one. */
  readonly environment: readonly ByteText[];
  readonly directory: Directory;
  readonly things: readonly Thing[];
  readonly descriptors: readonly Installed[];
  readonly umask: number;
  readonly limits: readonly Limit[];
  /** Added to that of the tests. */
  readonly niceness: number;
  readonly ignored: readonly number[];
  readonly blocked: readonly number[];
  readonly acts: readonly Act[];
  readonly ending: Ending;
}

/** What is asked for, and what stands where it is looked for. */
export interface Command {
  readonly word: ByteText;
  /** The elements of PATH; undefined when there is none. */
  readonly path: readonly ByteText[] | undefined;
  readonly programs: readonly { readonly at: ByteText; readonly program: Program }[];
}

/** What an executable, or what is not quite one, can be. */
export const programs = [
  "observer",
  "link",
  "shell-script",
  "script-of-script",
  "lost-interpreter",
  "directory-interpreter",
  "not-executable",
  "execute-only",
  "directory",
  "empty",
  "garbage",
  "dangling",
  "loop",
  "busy",
] as const;
export type Program = (typeof programs)[number];

/** Where the program starts. */
export type Directory =
  | { readonly kind: "inside"; readonly name: ByteText }
  | { readonly kind: "outside"; readonly path: ByteText }
  | { readonly kind: "deleted" | "moved" | "linked" }
  | { readonly kind: "mode"; readonly mode: number }
  | { readonly kind: "deep"; readonly levels: number };

/** Something to which descriptors lead: one open file description. */
export type Thing =
  | {
      readonly kind: "file";
      readonly content: ByteText;
      readonly flags: OpenFlags;
      readonly offset: number;
      readonly isUnlinked: boolean;
    }
  | { readonly kind: "outside"; readonly path: ByteText; readonly flags: OpenFlags }
  | { readonly kind: "memory"; readonly content: ByteText; readonly offset: number }
  | {
      readonly kind: "source";
      readonly content: ByteText;
      readonly hasWriter: boolean;
      readonly isNonBlocking: boolean;
    }
  | { readonly kind: "sink"; readonly hasReader: boolean; readonly isNonBlocking: boolean }
  | { readonly kind: "fifo"; readonly content: ByteText }
  | {
      readonly kind: "socket";
      readonly type: "stream" | "datagram" | "packets";
      readonly content: ByteText;
      readonly hasPeer: boolean;
      readonly isNonBlocking: boolean;
    }
  | { readonly kind: "terminal"; readonly line: ByteText }
  | {
      readonly kind: "directory" | "place" | "timer" | "watcher" | "internet" | "process";
    };

/** Letters: r, w or both; a appends; n does not block. */
export type OpenFlags = "r" | "w" | "rw" | "wa" | "rwa" | "rn" | "wn" | "rwan";

/** The descriptor `number` leads to the thing of that index. */
export interface Installed {
  readonly number: number;
  readonly thing: number;
}

/** The kernel's numbers of resources, and what `ulimit` of a shell calls them. */
export const resources = {
  CPU: [0, "-t"],
  FSIZE: [1, "-f"],
  DATA: [2, "-d"],
  STACK: [3, "-s"],
  CORE: [4, "-c"],
  RSS: [5, "-m"],
  NPROC: [6, "-u"],
  NOFILE: [7, "-n"],
  MEMLOCK: [8, "-l"],
  AS: [9, "-v"],
  LOCKS: [10, "-x"],
  SIGPENDING: [11, "-i"],
  MSGQUEUE: [12, "-q"],
  NICE: [13, "-e"],
  RTPRIO: [14, "-r"],
  RTTIME: [15, "-R"],
} as const;
export type Resource = keyof typeof resources;

/** In the kernel's unit; Infinity is no limit. A hard limit that is `kept` is that of the tests. */
export interface Limit {
  readonly resource: Resource;
  readonly soft: number | "hard";
  readonly hard: number | "kept";
}

/** What the observer does when it has told what it sees. */
export type Act =
  | { readonly kind: "read"; readonly number: number; readonly count: number }
  | { readonly kind: "write"; readonly number: number; readonly bytes: ByteText }
  | { readonly kind: "make"; readonly path: ByteText };

/** How the observer ends; `surely` it takes the signal's default action and unblocks it before. */
export type Ending =
  | { readonly kind: "exit"; readonly code: number }
  | { readonly kind: "signal"; readonly signal: number; readonly surely: boolean };

/** One in which nothing is odd. Cases are made from it by saying what is. */
export const plain: Context = {
  command: { word: "{observer}", path: ["/usr/bin", "/bin"], programs: [] },
  args: [],
  environment: [],
  directory: { kind: "inside", name: "." },
  things: [
    { kind: "outside", path: "/dev/null", flags: "r" },
    { kind: "file", content: "", flags: "w", offset: 0, isUnlinked: false },
    { kind: "file", content: "", flags: "wa", offset: 0, isUnlinked: false },
  ],
  descriptors: [0, 1, 2].map((number) => ({ number, thing: number })),
  umask: 0o022,
  limits: [],
  niceness: 0,
  ignored: [],
  blocked: [],
  acts: [],
  ending: { kind: "exit", code: 0 },
};
