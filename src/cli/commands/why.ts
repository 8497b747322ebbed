/** `prefork why`: how scripts and configured commands run, warm or cold, and what decided that. */
import { status } from "../../client/control.ts";
import type { Exclusion, Guard } from "../../domain/warmth.ts";
import { exitCodes } from "../exit-codes.ts";
import { discoveryOptions } from "../options.ts";
import { type Command, helpOption, jsonOption, textValue } from "./command.ts";
import { reach } from "./reach.ts";

/**
 * As the daemon reports a script; see ScriptReport of daemon/scripts.ts, which is not ours to
 * import.
 */
export interface ReportedScript {
  readonly name: string;
  readonly script: string;
  readonly warm: number;
  readonly cold: number;
  readonly reason?: string;
  readonly quarantined?: string;
  readonly variants: readonly ReportedVariant[];
}

interface ReportedVariant {
  readonly state: string;
  readonly pid: number;
  readonly spares: number;
  readonly served: number;
  readonly memory?: { readonly proportionalKiB: number; readonly privateKiB: number };
  readonly modules: number;
  readonly inputs: number;
  readonly excluded: readonly Exclusion[];
  readonly notes: readonly Exclusion[];
  readonly guard?: Guard;
}

export const whyCommand: Command = {
  summary: "Show how scripts run, warm or cold, and why",
  options: { json: jsonOption, ...discoveryOptions, help: helpOption },
  operand: {
    name: "name",
    description: "a configured command, or a part of a script's path; all when left out",
    isTaken: true,
  },
  examples: (name) => [
    [name, "every script that this daemon has run"],
    [`${name} eslint`, "what its image depends on, and what its last cold run was about"],
  ],
  run: ({ sys, output }, values) => {
    const report = status(sys, reach(sys, output, values));
    const wanted = textValue(values, "name");
    // Of the same version as we are, or else it has none.
    const scripts = ((report["images"] ?? []) as ReportedScript[]).filter(
      ({ name, script }) => wanted === undefined || name === wanted || script.includes(wanted),
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

/** One line for each image; for `status`. */
export function imageRows(scripts: readonly ReportedScript[]): [string, string][] {
  return scripts.flatMap(({ name, warm, cold, variants }) => {
    const jobs = `${warm} warm, ${cold} cold`;
    if (variants.length === 0) return [["image", `none of ${name}, ${jobs}`]];
    return variants.map(({ state, pid, spares, memory }): [string, string] => {
      const size = memory
        ? `, ${megabytes(memory.proportionalKiB)} (${megabytes(memory.privateKiB)} of its own)`
        : "";
      return ["image", `${name}: ${state}, pid ${pid}, ${spares} spare${size}, ${jobs}`];
    });
  });
}

function megabytes(kibibytes: number): string {
  return `${Math.round(kibibytes / 1024)} MB`;
}

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
