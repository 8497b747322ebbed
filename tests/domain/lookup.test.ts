import { expect, test } from "bun:test";
import { latin1 } from "../../src/base/strings.ts";
import { executableCandidates, isPath } from "../../src/domain/lookup.ts";
import { bytesOf } from "../helpers/arbitraries.ts";

test.each([
  {
    what: "each element of PATH in order",
    name: "ls",
    path: "/bin:/usr/bin",
    at: ["/bin/ls", "/usr/bin/ls"],
  },
  { what: "an only element", name: "ls", path: "/bin", at: ["/bin/ls"] },
  { what: "an empty PATH: here", name: "ls", path: "", at: ["ls"] },
  { what: "an empty element in front", name: "ls", path: ":/bin", at: ["ls", "/bin/ls"] },
  { what: "an empty element at the end", name: "ls", path: "/bin:", at: ["/bin/ls", "ls"] },
  { what: "an empty element inside", name: "ls", path: "/a::/b", at: ["/a/ls", "ls", "/b/ls"] },
  { what: "a PATH of one colon", name: "ls", path: ":", at: ["ls", "ls"] },
  { what: "a relative element", name: "ls", path: "bin:.", at: ["bin/ls", "./ls"] },
  { what: "an element twice", name: "ls", path: "/a:/a", at: ["/a/ls", "/a/ls"] },
  { what: "an element with a slash at its end", name: "ls", path: "/a/", at: ["/a//ls"] },
  {
    what: "bytes that are not UTF-8",
    name: "\xff",
    path: "/\x80:/\n",
    at: ["/\x80/\xff", "/\n/\xff"],
  },
  {
    what: "no PATH: what execvp(3) uses",
    name: "ls",
    path: undefined,
    at: ["/bin/ls", "/usr/bin/ls"],
  },
  { what: "an absolute path", name: "/bin/ls", path: "/a:/b", at: ["/bin/ls"] },
  { what: "a relative path", name: "./ls", path: "/a", at: ["./ls"] },
  { what: "a path below here", name: "a/ls", path: "/a", at: ["a/ls"] },
  { what: "a name that ends in a slash", name: "ls/", path: "/a", at: ["ls/"] },
  { what: "a path, with no PATH", name: "/ls", path: undefined, at: ["/ls"] },
  { what: "a name with a colon", name: "a:b", path: "/x", at: ["/x/a:b"] },
])("$what", ({ name, path, at }) => {
  const found = executableCandidates(bytesOf(name), path === undefined ? path : bytesOf(path));
  expect<readonly string[]>([...found].map(latin1)).toEqual(at);
});

test.each([
  { name: "ls", is: false },
  { name: "", is: false },
  { name: "..", is: false },
  { name: "\\", is: false },
  { name: "/", is: true },
  { name: "a/", is: true },
  { name: "./a", is: true },
])("'$name' is a path: $is", ({ name, is }) => {
  expect(isPath(bytesOf(name))).toBe(is);
});
