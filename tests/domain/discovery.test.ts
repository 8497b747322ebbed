import { describe, expect, test } from "bun:test";
import {
  absolute,
  type Candidate,
  creationCandidate,
  DiscoveryError,
  type DiscoveryRequest,
  findCandidate,
  logPathOf,
  type Mode,
  modes,
  pidPathOf,
  validateProjectName,
} from "../../src/domain/discovery.ts";
import { allCandidates, around, type World } from "../helpers/surroundings.ts";

const runtime = "/run/user/7";
const local = (directory: string): Candidate[] => [
  { mode: "local", socketPath: `${directory}/pfd.sock` },
  { mode: "local", socketPath: `${directory}/.pfd.sock` },
];
const project = (name: string): Candidate => ({
  mode: "project",
  socketPath: `${runtime}/pfd.${name}.sock`,
});
const last: Candidate = { mode: "runtime", socketPath: `${runtime}/pfd.sock` };

interface Row {
  what: string;
  world: World;
  request?: DiscoveryRequest;
  places: Candidate[];
}

const rows: Row[] = [
  {
    what: "in a directory of no project",
    world: { directory: "/home/u/x" },
    places: [...local("/home/u/x"), last],
  },
  {
    what: "in a project's root",
    world: { directory: "/w/app", files: ["/w/app/.git"] },
    places: [...local("/w/app"), project("app"), last],
  },
  {
    what: "deep in a project",
    world: { directory: "/w/app/src/a", files: ["/w/app/package.json"] },
    places: [...local("/w/app/src/a"), project("app"), last],
  },
  {
    what: "in a project within a project: the nearest counts",
    world: { directory: "/w/app/lib/x", files: ["/w/app/.git", "/w/app/lib/prefork.toml"] },
    places: [...local("/w/app/lib/x"), project("lib"), last],
  },
  {
    what: "in a project just below the root directory",
    world: { directory: "/app", files: ["/app/.git"] },
    places: [...local("/app"), project("app"), last],
  },
  {
    what: "below a root directory that holds a marker: it is no project",
    world: { directory: "/x/y", files: ["/.git", "/package.json", "/prefork.toml"] },
    places: [...local("/x/y"), last],
  },
  {
    what: "in the root directory",
    world: { directory: "/", files: ["/.git"] },
    places: [...local(""), last],
  },
  {
    what: "when a sibling and a child are projects",
    world: { directory: "/w/x", files: ["/w/y/.git", "/w/x/z/.git", "/w/x.git"] },
    places: [...local("/w/x"), last],
  },
  {
    what: "in a directory that was deleted",
    world: { directory: undefined, files: ["/.git", ".git"] },
    places: [last],
  },
  {
    what: "in a deleted directory, with a project by name",
    world: { directory: undefined },
    request: { project: "app" },
    places: [project("app"), last],
  },
  {
    what: "with a project by name: no looking for another",
    world: { directory: "/w/app", files: ["/w/app/.git"] },
    request: { project: "other" },
    places: [...local("/w/app"), project("other"), last],
  },
  {
    what: "with the local mode",
    world: { directory: "/w/app", files: ["/w/app/.git"] },
    request: { mode: "local" },
    places: local("/w/app"),
  },
  {
    what: "with the local mode, in a deleted directory",
    world: { directory: undefined },
    request: { mode: "local" },
    places: [],
  },
  {
    what: "with the project mode",
    world: { directory: "/w/app", files: ["/w/app/.git"] },
    request: { mode: "project" },
    places: [project("app")],
  },
  {
    what: "with the project mode, where there is no project",
    world: { directory: "/w/app" },
    request: { mode: "project" },
    places: [],
  },
  {
    what: "with the runtime mode",
    world: { directory: "/w/app", files: ["/w/app/.git"] },
    request: { mode: "runtime" },
    places: [last],
  },
  {
    what: "with a socket by name: the only place",
    world: { directory: "/w/app", files: ["/w/app/.git"] },
    request: { socket: "/tmp/s" },
    places: [{ mode: "explicit", socketPath: "/tmp/s" }],
  },
  {
    what: "with a socket relative to the directory",
    world: { directory: "/w/app" },
    request: { socket: "./../s.sock" },
    places: [{ mode: "explicit", socketPath: "/w/app/../s.sock" }],
  },
  {
    what: "with a socket and the mode it is of",
    world: { directory: "/w/app" },
    request: { socket: "s.sock", mode: "local" },
    places: [{ mode: "local", socketPath: "/w/app/s.sock" }],
  },
  {
    what: "with an absolute socket, in a deleted directory",
    world: { directory: undefined },
    request: { socket: "/tmp/s" },
    places: [{ mode: "explicit", socketPath: "/tmp/s" }],
  },
  {
    what: "with a runtime directory that ends in a slash",
    world: { directory: "/x", runtimeDirectory: "/run/user/7/" },
    request: { mode: "runtime" },
    places: [last],
  },
];

test.each(rows)("the places $what", ({ world, request = {}, places }) => {
  expect(allCandidates(request, around(world))).toEqual(places);
});

test.each([
  { what: "the runtime mode by default", world: { directory: "/x" }, request: {}, place: last },
  {
    what: "the runtime mode, with a project named but no mode forced",
    world: { directory: undefined },
    request: { project: "app" },
    place: last,
  },
  {
    what: "the runtime mode, where there is a project but nobody asked for it",
    world: { directory: "/w/app", files: ["/w/app/.git"] },
    request: {},
    place: last,
  },
  {
    what: "the project around, when asked for",
    world: { directory: "/w/app", files: ["/w/app/.git"] },
    request: { mode: "project" as Mode },
    place: project("app"),
  },
  {
    what: "the first of the local ones",
    world: { directory: "/x" },
    request: { mode: "local" as Mode },
    place: { mode: "local", socketPath: "/x/pfd.sock" },
  },
  {
    what: "the socket by name",
    world: { directory: "/x" },
    request: { socket: "s" },
    place: { mode: "explicit", socketPath: "/x/s" },
  },
])("a new daemon's place is $what", ({ world, request, place }) => {
  expect<object>(creationCandidate(request, around(world))).toEqual(place);
});

const valid = ["a", "A", "0", "_", "-", "my-app", "a.b", "a..", "x_1", "-.-", "a".repeat(64)];
const invalid = [
  ...["", ".", "..", ".git", ".a", "a/b", "/", "/a", "a/", "../a", "a b", " a", "a ", "a\n", "\n"],
  ...["a\0", "é", "aé", "日本", "a:b", "a@b", "~", "a*", "$HOME", "a\\b", "a%", "a".repeat(65)],
];

test.each(valid)("the project name %j is valid", (name) => {
  expect(validateProjectName(name)).toBe(name);
});

describe.each(invalid)("the project name %j is refused", (name) => {
  const world = around({ directory: "/w/app", files: ["/w/app/.git"] });

  test("by its rule", () => {
    expect(() => validateProjectName(name)).toThrow(DiscoveryError);
  });

  test.each(modes)("before any place of the mode %s is tried", (mode) => {
    expect(() => allCandidates({ project: name, mode }, world)).toThrow(DiscoveryError);
  });

  test("before a socket by name is tried", () => {
    const request = { project: name, socket: "/tmp/s" };
    expect(() => allCandidates(request, world)).toThrow(DiscoveryError);
  });
});

test.each<DiscoveryRequest & { what: string }>([
  { what: "of the mode local", mode: "local" },
  { what: "of the mode project", mode: "project" },
  { what: "of the mode runtime", mode: "runtime" },
  { what: "of no mode", mode: undefined },
  { what: "at a socket by name", socket: "/tmp/s" },
])("a new daemon $what refuses an invalid project name, as its clients do", (request) => {
  const world = around({ directory: "/w/app", files: ["/w/app/.git"] });
  expect(() => creationCandidate({ ...request, project: "../x" }, world)).toThrow(DiscoveryError);
});

const refused: { what: string; world: World; request: DiscoveryRequest }[] = [
  { what: "an empty socket", world: { directory: "/x" }, request: { socket: "" } },
  { what: "a relative socket nowhere", world: {}, request: { socket: "s" } },
  { what: "a relative socket nowhere, with ./", world: {}, request: { socket: "./s" } },
  {
    what: "a project's directory whose name is no project name",
    world: { directory: "/w/my app/src", files: ["/w/my app/.git"] },
    request: { mode: "project" },
  },
  {
    what: "a project's directory with a leading dot",
    world: { directory: "/home/u/.dotfiles", files: ["/home/u/.dotfiles/.git"] },
    request: {},
  },
];

test.each(refused)("$what is refused, for clients and for daemons", ({ world, request }) => {
  expect(() => allCandidates(request, around(world))).toThrow(DiscoveryError);
  const daemon = { ...request, mode: request.mode ?? ("project" as const) };
  expect(() => creationCandidate(daemon, around(world))).toThrow(DiscoveryError);
});

test.each([
  { mode: "local", world: {}, words: "the working directory has no path any more" },
  { mode: "project", world: { directory: "/x/y" }, words: "no project here" },
  { mode: "project", world: {}, words: "no project here" },
] as const)("no new daemon of the mode $mode where there is no place", ({ mode, world, words }) => {
  expect(() => creationCandidate({ mode }, around(world))).toThrow(DiscoveryError);
  expect(() => creationCandidate({ mode }, around(world))).toThrow(words);
});

test("a place is looked for only when those before it were tried", () => {
  const asked: string[] = [];
  const there = {
    directory: "/w/app",
    runtimeDirectory: () => {
      asked.push("runtime directory");
      return runtime;
    },
    exists: (path: string) => {
      asked.push(path);
      return path === "/w/app/package.json";
    },
  };
  const second = local("/w/app")[1];
  const isSecond = ({ socketPath }: Candidate) => socketPath === second?.socketPath || undefined;
  expect(findCandidate({}, there, isSecond)).toBe(true);
  expect(asked).toEqual([]);
  const isProject = ({ mode }: Candidate) => mode === "project" || undefined;
  expect(findCandidate({}, there, isProject)).toBe(true);
  expect(asked).toEqual(["/w/app/.git", "/w/app/package.json", "runtime directory"]);
});

test.each([
  { socket: "/run/pfd.sock", stem: "/run/pfd" },
  { socket: "/run/pfd.app.sock", stem: "/run/pfd.app" },
  { socket: "/x/.pfd.sock", stem: "/x/.pfd" },
  { socket: "/x/daemon", stem: "/x/daemon" },
  { socket: "/x/daemon.socket", stem: "/x/daemon.socket" },
  { socket: "/x/sock", stem: "/x/sock" },
  { socket: "/x/a.sock.sock", stem: "/x/a.sock" },
  { socket: "/x.sock/daemon", stem: "/x.sock/daemon" },
  { socket: "/x/a.sockx", stem: "/x/a.sockx" },
  { socket: "/x/axsock", stem: "/x/axsock" },
  { socket: "/x/a.SOCK", stem: "/x/a.SOCK" },
  { socket: "/x/a.sock\n", stem: "/x/a.sock\n" },
])("the files beside $socket", ({ socket, stem }) => {
  expect(pidPathOf(socket)).toBe(`${stem}.pid`);
  expect(logPathOf(socket)).toBe(`${stem}.log`);
});

test.each([
  { path: "/a", result: "/a" },
  { path: "a", result: "/d/a" },
  { path: "./a", result: "/d/a" },
  { path: ".//./a", result: "/d/a" },
  { path: "../a", result: "/d/../a" },
  { path: ".a", result: "/d/.a" },
  { path: "a/./b", result: "/d/a/./b" },
])("the absolute form of $path", ({ path, result }) => {
  expect(absolute(path, { directory: "/d" })).toBe(result);
});

test("a relative path in the root directory", () => {
  expect(absolute("a", { directory: "/" })).toBe("/a");
});
