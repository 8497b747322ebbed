import { expect, test } from "bun:test";
import { discoveryRequest } from "../../src/cli/place.ts";

type Options = Parameters<typeof discoveryRequest>[0];
type Request = ReturnType<typeof discoveryRequest>;

test.each<{ what: string; options?: Options; env?: string[]; request: Partial<Request> }>([
  { what: "nothing is asked for", request: {} },
  {
    what: "options alone",
    options: { socket: "s", project: "p" },
    request: { socket: "s", project: "p" },
  },
  {
    what: "the socket of the environment: its project does not matter, however it is spelled",
    env: ["PFD_SOCKET=/s", "PFD_PROJECT=/"],
    request: { socket: "/s" },
  },
  {
    what: "the project of the environment",
    env: ["PFD_PROJECT=p"],
    request: { project: "p" },
  },
  {
    what: "and for the mode that is about projects",
    options: { mode: "project" },
    env: ["PFD_SOCKET=/s", "PFD_PROJECT=p"],
    request: { mode: "project", project: "p" },
  },
  {
    what: "options win",
    options: { socket: "o", project: "q" },
    env: ["PFD_SOCKET=/s", "PFD_PROJECT=p"],
    request: { socket: "o", project: "q" },
  },
  {
    what: "a forced mode is not about the socket of the environment, nor about its project",
    options: { mode: "runtime" },
    env: ["PFD_SOCKET=/s", "PFD_PROJECT=p"],
    request: { mode: "runtime" },
  },
  {
    what: "a forced mode and a socket by option",
    options: { mode: "local", socket: "o" },
    env: ["PFD_SOCKET=/s"],
    request: { mode: "local", socket: "o" },
  },
  { what: "an empty variable is none", env: ["PFD_SOCKET=", "PFD_PROJECT="], request: {} },
  {
    what: "an empty option is one, to be refused",
    options: { socket: "", project: "" },
    env: ["PFD_SOCKET=/s", "PFD_PROJECT=p"],
    request: { socket: "", project: "" },
  },
  {
    what: "other variables are no concern",
    env: ["PFD_SOCKETS=/s", "XPFD_SOCKET=/s", "pfd_socket=/s", "PFD_SOCKET", "PFD_MODE=local"],
    request: {},
  },
])("$what", ({ options = {}, env = [], request }) => {
  const variables = new Map(env.map((entry) => entry.split("=", 2) as [string, string]));
  const variable = (name: string) => variables.get(name) || undefined;
  expect(discoveryRequest(options, variable)).toEqual({
    socket: undefined,
    mode: undefined,
    project: undefined,
    ...request,
  });
});
