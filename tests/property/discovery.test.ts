import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  type Candidate,
  creationCandidate,
  DiscoveryError,
  type DiscoveryRequest,
  logPathOf,
  modes,
  pidPathOf,
  validateProjectName,
} from "../../src/domain/discovery.ts";
import { holdsFor } from "../helpers/property.ts";
import { allCandidates, around, type World } from "../helpers/surroundings.ts";

const names = ["a", "b", "my-app", ".hidden", "two words", "x".repeat(65)];
const markers = [".git", "package.json", "prefork.toml"];
const parts = fc.array(fc.constantFrom(...names), { maxLength: 5 });
const world: fc.Arbitrary<World> = fc
  .tuple(fc.option(parts), fc.array(fc.tuple(fc.nat(6), fc.constantFrom(...markers, "x"))))
  .map(([path, marked]) => ({
    directory: path === null ? undefined : `/${path.join("/")}`,
    files: marked.map(([depth, marker]) => {
      const above = (path ?? []).slice(0, depth).map((part) => `/${part}`);
      return `${above.join("")}/${marker}`;
    }),
  }));
const request: fc.Arbitrary<DiscoveryRequest> = fc.record({
  socket: fc.option(fc.constantFrom("/s", "s", "./s", "a/s", ""), { nil: undefined, freq: 4 }),
  mode: fc.option(fc.constantFrom(...modes), { nil: undefined }),
  project: fc.option(fc.constantFrom(...names, "", "a/b", ".."), { nil: undefined, freq: 2 }),
});

/** The name rule, without a pattern. */
function isName(name: string): boolean {
  const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
  const fits = name.length >= 1 && name.length <= 64 && !name.startsWith(".");
  return fits && [...name].every((character) => allowed.includes(character));
}

/** The rules of discovery as the design states them, the long way round; "error" when refused. */
function expectedPlaces(
  asked: DiscoveryRequest,
  { directory, files = [] }: World,
): Candidate[] | "error" {
  const { socket, mode, project } = asked;
  if (project !== undefined && !isName(project)) return "error";
  if (socket !== undefined) {
    if (socket === "" || (directory === undefined && !socket.startsWith("/"))) return "error";
    const base = directory === "/" ? "" : directory;
    const path = socket.startsWith("/") ? socket : `${base}/${socket.replace("./", "")}`;
    return [{ mode: mode ?? "explicit", socketPath: path }];
  }
  const places: Candidate[] = [];
  if (directory !== undefined && (mode ?? "local") === "local") {
    for (const file of ["pfd.sock", ".pfd.sock"]) {
      places.push({
        mode: "local",
        socketPath: directory === "/" ? `/${file}` : `${directory}/${file}`,
      });
    }
  }
  if ((mode ?? "project") === "project") {
    const steps = (directory ?? "").split("/").filter((step) => step !== "");
    const roots = steps.map((_, index) => steps.slice(0, index + 1)).reverse();
    const root = roots.find((one) =>
      markers.some((marker) => files.includes(`/${one.join("/")}/${marker}`)),
    );
    const name = project ?? root?.at(-1);
    if (name !== undefined && !isName(name)) return "error";
    if (name !== undefined)
      places.push({ mode: "project", socketPath: `/run/user/7/pfd.${name}.sock` });
  }
  if ((mode ?? "runtime") === "runtime") {
    places.push({ mode: "runtime", socketPath: "/run/user/7/pfd.sock" });
  }
  return places;
}

function outcome<Value>(work: () => Value): Value | "error" {
  try {
    return work();
  } catch (error) {
    if (error instanceof DiscoveryError) return "error";
    throw error;
  }
}

test("the places are those of the design, in its order", () => {
  holdsFor(fc.tuple(request, world), ([asked, there]) => {
    expect(outcome(() => allCandidates(asked, around(there)))).toEqual(
      expectedPlaces(asked, there),
    );
  });
});

test("a new daemon is where a client with the same request looks for it", () => {
  holdsFor(fc.tuple(request, world), ([asked, there]) => {
    const place = outcome(() => creationCandidate(asked, around(there)));
    if (place === "error") return;
    const looked: Candidate[] = [];
    // A place before it may make the whole search an error; the daemon's own must come first.
    const all = outcome(() => {
      for (const candidate of allCandidates(asked, around(there))) looked.push(candidate);
      return looked;
    });
    if (all === "error") {
      const hasOddProject = asked.mode === undefined && asked.project === undefined;
      expect(hasOddProject).toBe(true);
      return;
    }
    expect(looked).toContainEqual(place);
  });
});

test("every socket's path is absolute, and its files stand beside it", () => {
  holdsFor(fc.tuple(request, world), ([asked, there]) => {
    const all = outcome(() => allCandidates(asked, around(there)));
    if (all === "error") return;
    for (const { socketPath } of all) {
      expect(socketPath).toStartWith("/");
      const place = socketPath.slice(0, socketPath.lastIndexOf("/"));
      for (const beside of [pidPathOf(socketPath), logPathOf(socketPath)]) {
        expect(beside.slice(0, beside.lastIndexOf("/"))).toBe(place);
        expect(beside).not.toBe(socketPath);
      }
    }
  });
});

test("a project name is valid exactly by the rule", () => {
  const text = fc.oneof(
    fc.string({ unit: "binary", maxLength: 5 }),
    fc.stringMatching(/^[A-Za-z0-9._\n/ -]{0,66}$/),
    fc.stringMatching(/^[A-Za-z0-9._-]{1,66}$/),
  );
  holdsFor(text, (name) => {
    expect(outcome(() => validateProjectName(name))).toBe(isName(name) ? name : "error");
  });
});
