/** `prefork ping`, `status` and `stop`. */
import { awaitStopping, ping, type Report, status, stop } from "../../client/control.ts";
import { baseImageOf, imageTable, isBeside, measured, scriptsOf, summaryOf } from "../images.ts";
import { discoveryOptions } from "../options.ts";
import { noDaemon } from "../place.ts";
import { type Command, helpOption, jsonOption } from "./command.ts";
import { find, reach } from "./reach.ts";

export const pingCommand: Command = {
  summary: "Ask the daemon whether it answers",
  options: { ...discoveryOptions, help: helpOption },
  examples: (name) => [[`${name} && echo up`, "status 0 when it answers, 125 when nobody does"]],
  run: ({ sys, output }, values) => {
    const daemon = reach(sys, output, values);
    const { pid, version } = ping(sys, daemon);
    output.print(`pfd ${version} answers at ${daemon.socketPath} (pid ${pid})\n`);
    return 0;
  },
};

export const statusCommand: Command = {
  summary: "Show what the daemon is doing",
  options: {
    images: {
      type: "boolean",
      description:
        "show the processes of each image, its spares and its running jobs, and their memory",
    },
    json: jsonOption,
    ...discoveryOptions,
    help: helpOption,
  },
  examples: (name) => [
    [name, "for people"],
    [`${name} --images`, "which images there are, and what each process takes, in MB"],
    [`${name} --json`, "for programs, on one line; with --images the memory, too"],
  ],
  run: ({ sys, output }, values) => {
    const images = values["images"] === true;
    const daemon = reach(sys, output, values);
    const report = status(sys, daemon);
    const isMeasured = images && isBeside(daemon, report);
    if (images && !isMeasured) {
      output.complain("the memory cannot be told: the daemon is in another pid namespace");
    }
    const told = isMeasured ? measured(sys, report) : report;
    if (values["json"] === true) output.print(`${JSON.stringify(told)}\n`);
    else output.print(images ? imageTable(told) : formatReport(told));
    return 0;
  },
};

export const stopCommand: Command = {
  summary: "End the daemon's jobs and then the daemon; returns when it is gone",
  options: {
    now: { type: "boolean", description: "do not give the jobs time to end by themselves" },
    ...discoveryOptions,
    help: helpOption,
  },
  examples: (name) => [
    [name, "jobs get SIGTERM, and after the daemon's --grace time SIGKILL"],
    [`${name} --now`, "SIGKILL at once"],
  ],
  run: ({ sys, output }, values) => {
    const now = values["now"] === true;
    const { daemon, tried } = find(sys, output, values);
    if (daemon) {
      const { pid, running } = stop(sys, daemon, now);
      output.print(`stopped pfd (pid ${pid}); ${running} jobs were running\n`);
      return 0;
    }
    const pid = awaitStopping(sys, tried, now);
    if (pid === undefined) throw noDaemon(tried);
    output.print(`pfd (pid ${pid}) was stopping, and is gone\n`);
    return 0;
  },
};

function formatReport(report: Report): string {
  const image = baseImageOf(report);
  const rows: [string, string][] = [
    ["pid", `${report["pid"]}`],
    ["version", `${report["version"]}`],
    ["state", `${report["state"]}`],
    ["uptime", formatDuration(Number(report["uptimeMs"]))],
    ["socket", `${report["socket"]} (${report["mode"]})`],
    ["jobs", `${report["running"]} running, ${report["done"]} done, ${report["failed"]} failed`],
    [
      "base image",
      `${image.state}, pid ${image.pid}, ${image.spares} idle, ${image.served} served`,
    ],
    ...scriptsOf(report).map((script): [string, string] => ["script", summaryOf(script)]),
  ];
  if (report["shortage"] !== undefined) rows.push(["memory", `${report["shortage"]}`]);
  return rows.map(([name, value]) => `${name.padEnd(11)} ${value}\n`).join("");
}

function formatDuration(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}
