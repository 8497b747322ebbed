/** The daemon that a subcommand is about. */
import type { Sys } from "../../../ffi/sys.ts";
import type { Daemon } from "../../client/connect.ts";
import type { Output } from "../output.ts";
import {
  discoveryRequest,
  findDaemon,
  noDaemon,
  ownVariables,
  type Search,
  surroundings,
} from "../place.ts";
import { textValue, type Values } from "./command.ts";

export function find(sys: Sys, output: Output, values: Values): Search {
  const warn = (message: string): void => output.complain(message);
  const around = surroundings(sys, ownVariables, warn);
  const socket = textValue(values, "socket");
  const mode = textValue(values, "mode");
  const project = textValue(values, "project");
  const request = discoveryRequest({ socket, mode, project }, ownVariables);
  return findDaemon(sys, { request, around }, warn);
}

export function reach(sys: Sys, output: Output, values: Values): Daemon {
  const { daemon, tried } = find(sys, output, values);
  if (daemon) return daemon;
  throw noDaemon(tried);
}
