/** `prefork why`: how scripts and configured commands run, warm or cold, and what decided that. */
import { status } from "../../client/control.ts";
import type { Guard } from "../../domain/warmth.ts";
import { findScript } from "../../execution/script.ts";
import { workingDirectory } from "../../os/process.ts";
import { exitCodes } from "../exit-codes.ts";
import {
  isBeside,
  measured,
  type ReportedScript,
  type ReportedVariant,
  scriptsOf,
} from "../images.ts";
import { discoveryOptions } from "../options.ts";
import { type Command, helpOption, jsonOption, textValue } from "./command.ts";
import { reach } from "./reach.ts";

export const whyCommand: Command = {
  summary: "Show how scripts run, warm or cold, and why",
  options: { json: jsonOption, ...discoveryOptions, help: helpOption },
  operand: {
    name: "name",
    description:
      "what was run: a configured command, a tool, a file; or a part of its path; all when left out",
    isTaken: true,
  },
  examples: (name) => [
    [name, "every script that this daemon has run"],
    [`${name} eslint`, "what its image depends on, and what its last cold run was about"],
  ],
  run: ({ sys, output }, values) => {
    const daemon = reach(sys, output, values);
    const report = status(sys, daemon);
    const wanted = textValue(values, "name");
    const isMeasured = values["json"] === true && isBeside(daemon, report);
    const told = isMeasured ? measured(sys, report) : report;
    const file = wanted && findScript(wanted, workingDirectory(sys) ?? "/")?.path;
    const scripts = scriptsOf(told).filter(
      ({ name, script }) =>
        wanted === undefined || name === wanted || script === file || script.includes(wanted),
    );
    if (values["json"] === true) {
      output.print(`${JSON.stringify(scripts)}\n`);
      return exitCodes.ok;
    }
    if (scripts.length === 0) {
      const what = wanted === undefined ? "no script" : `no script named '${wanted}'`;
      output.complain(`${what} has been run by this daemon (run one with 'prefork run --warm')`);
      return wanted === undefined ? exitCodes.ok : exitCodes.daemonFailed;
    }
    for (const script of scripts) output.print(formatScript(script));
    return exitCodes.ok;
  },
};

function formatScript(script: ReportedScript): string {
  const { name, reason, quarantined, variants } = script;
  const lines = [name === script.script ? name : `${name}: ${script.script}`];
  lines.push(`  ${script.warm} jobs ran warm, ${script.cold} cold`);
  if (reason !== undefined) lines.push(`  the last cold one: ${reason}`);
  if (quarantined !== undefined) lines.push(`  runs cold until it changes: ${quarantined}`);
  for (const variant of variants) lines.push(...variantLines(variant));
  return `${lines.join("\n")}\n`;
}

function variantLines(variant: ReportedVariant): string[] {
  const { state, pid, served, modules, inputs, excluded, notes, guard } = variant;
  const lines = [
    `  image ${pid}: ${state}, ${served} served, ${modules} modules, ${inputs} files and directories asked for before each job`,
  ];
  for (const { module, reason } of excluded) {
    lines.push(`    loaded by each job: ${module} ${reason}`);
  }
  for (const { module, reason } of notes) lines.push(`    note: ${module} ${reason}`);
  if (guard) lines.push(...guardLines(guard));
  return lines;
}

/** What a job must have in common with the image, but for what every image wants. */
function guardLines({ env, names, cwd, args, words, streams }: Guard): string[] {
  const rows: [string, string, string][] = [];
  for (const [name, { value, module }] of Object.entries(env)) {
    rows.push([name, value === null ? "not set" : JSON.stringify(value), module]);
  }
  if (names) rows.push(["names of variables", "the same", names.module]);
  if (cwd) rows.push(["directory", cwd.value, cwd.module]);
  if (args) rows.push(["arguments", args.value, args.module]);
  for (const [word, { value, module }] of Object.entries(words)) {
    rows.push([word, value ? "among the arguments" : "not among the arguments", module]);
  }
  const all = `    for jobs whose 0, 1, 2 are: ${streams.join(", ")}`;
  const lines = rows
    .filter(([, , module]) => module !== "the runtime")
    .map(([what, value, module]) => `    for jobs with ${what}: ${value} (${module})`);
  return [all, ...lines];
}
