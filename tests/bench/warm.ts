/**
 * `bun run bench:warm [ROUNDS]`: what a script costs cold, in Node and in Bun, warm in a child of an
 * image, and through the daemon that its own authors have made. All in one run, in turns: see
 * measurement.ts. Without Node its columns, and the tools' daemons, which are Node, are left out.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { interruptible } from "../helpers/interruption.ts";
import { Sandbox } from "../helpers/sandbox.ts";
import {
  copyProject,
  copyScripts,
  directCommand,
  directEnv,
  equip,
  runUntilWarm,
  untilSettled,
  warmCommand,
  warmRuns,
  whyCold,
} from "../helpers/warm.ts";
import {
  type Contender,
  contender,
  findNode,
  goal,
  machine,
  quantile,
  roundsWanted,
  runOnce,
  say,
  table,
  takeTurns,
} from "./measurement.ts";

const roundsDefault = 20;

/** How many times faster than cold Node and cold Bun a tool of some size is to be. */
const nodeGoal = 8;
const bunGoal = 4;
/** What it may take of the time that the client of its own daemon takes. */
const daemonGoal = 0.7;
/** The two medians of a comparison "no longer than" may differ so much by chance alone. */
const noise = 1.05;

interface Subject {
  readonly name: string;
  /** A path, or a tool of node_modules/.bin. */
  readonly script: string;
  readonly args: readonly string[];
  /** The status that it ends with. */
  readonly status: number;
  /** It is as small as a command can be, and is to cost no more than one. */
  readonly isSmall: boolean;
  readonly isForNode: boolean;
  /** The module of the project that warms its image up. */
  readonly warmUp?: string;
  /** The words that run it through its own daemon, and those that stop that one. */
  readonly own?: { readonly run: readonly string[]; readonly stop: readonly string[] };
}

/** A row of the table: what there is of each way to run it. */
interface Row {
  readonly subject: Subject;
  readonly node: Contender | undefined;
  readonly bun: Contender;
  readonly warm: Contender;
  readonly warmedUp: Contender | undefined;
  readonly own: Contender | undefined;
}

await interruptible(async (interrupted) => {
  const rounds = roundsWanted(roundsDefault);
  await using box = new Sandbox();
  equip(box);
  const cwd = join(box.work, "project");
  copyProject(cwd);
  const scripts = copyScripts(box);
  await box.serveWarm();
  const node = findNode();
  const tool = (name: string): string => join(cwd, "node_modules/.bin", name);
  const sample = join(cwd, "sample.ts");

  const subjects: readonly Subject[] = [
    {
      name: "a script of three modules",
      script: join(scripts, "three-modules.ts"),
      args: ["1", "2", "3"],
      status: 0,
      isSmall: true,
      isForNode: false, // TypeScript
    },
    {
      name: "eslint, 500 lines",
      script: "eslint",
      args: ["sample.ts"],
      status: 1, // there is something to complain about
      isSmall: false,
      isForNode: true,
      warmUp: "./warm-up/eslint.js",
      own: { run: [tool("eslint_d"), "sample.ts"], stop: [tool("eslint_d"), "stop"] },
    },
    {
      name: "prettier, 500 lines",
      script: "prettier",
      args: ["sample.ts"],
      status: 0,
      isSmall: false,
      isForNode: true,
      warmUp: "./warm-up/prettier.js",
      own: { run: [tool("prettierd"), "sample.ts"], stop: [tool("prettierd"), "stop"] },
    },
  ];
  const program = contender("/bin/true", [...clientOf(box), "/bin/true"], { isOurs: true });
  const add = contender("add 1 2", [...clientOf(box), "add", "1", "2"], { isOurs: true });
  const rows = subjects.map((subject): Row => {
    const { name, script, args, status } = subject;
    const path = script.includes("/") ? script : tool(script);
    const own = node === undefined ? undefined : subject.own;
    return {
      subject,
      node:
        node !== undefined && subject.isForNode
          ? contender(`${name}: node`, [node, path, ...args], { status })
          : undefined,
      bun: contender(`${name}: bun`, directCommand(path, args), { status, env: directEnv }),
      warm: contender(`${name}: warm`, warmCommand(box, script, args), { status, isOurs: true }),
      warmedUp: subject.warmUp
        ? contender(`${name}: warmed up`, [...clientOf(box), commandOf(subject), ...args], {
            status,
            isOurs: true,
          })
        : undefined,
      own: own && contender(`${name}: its daemon`, own.run, { status, input: sample }),
    };
  });
  const all = rows.flatMap(({ node, bun, warm, warmedUp, own }) => [
    node,
    bun,
    warm,
    warmedUp,
    own,
  ]);
  const contenders = [program, add, ...all.filter((one) => one !== undefined)];

  const stops = node === undefined ? [] : subjects.flatMap(({ own }) => (own ? [own.stop] : []));
  try {
    writeFileSync(join(cwd, "prefork.toml"), subjects.map(configurationOf).join(""));
    await box.start([join(box.bin, "prefork"), "allow"], { cwd }).ended;
    const warmOnes = rows.flatMap(({ warm, warmedUp }) => (warmedUp ? [warm, warmedUp] : [warm]));
    for (const one of warmOnes) {
      // As it is measured: what its streams are is a part of what an image is made for.
      const run = async () => runOnce(one, { env: box.env, cwd });
      const { isWarm, reason } = await runUntilWarm(box, run);
      if (!isWarm) say(`${one.name}: never; ${reason}`);
    }
    const before = await warmRuns(box);
    const untilIdle = async (): Promise<void> => await untilSettled(box);
    const counted = await takeTurns(contenders, {
      rounds,
      env: box.env,
      cwd,
      untilIdle,
      interrupted,
    });
    const warmCount = (await warmRuns(box)) - before;

    say(`${machine()}\n${rounds} rounds, median ms; in brackets, times the last column\n\n`);
    const head = ["", "cold node", "cold bun", "its daemon", "warm", "warmed up"];
    say(table([head, ...rows.map(columnsOf)]));
    say(`\n${table([program, add].map((one) => [one.name, median(one).toFixed(1)]))}\n`);
    const expected = counted * warmOnes.length;
    if (warmCount < expected) {
      say(`only ${warmCount} of ${expected} runs were warm: ${await whyCold(box)}\n`);
    }
    noLonger("add", add, program);
    for (const row of rows) goalsOf(row, program);
  } finally {
    for (const cmd of stops) {
      Bun.spawnSync({ cmd: [...cmd], env: box.env, cwd, stdio: ["ignore", "ignore", "ignore"] });
    }
  }
  return 0;
});

function clientOf(box: Sandbox): string[] {
  return [join(box.bin, "prefork"), "run", "-w"];
}

/** The name under which a subject that is warmed up is configured. */
function commandOf({ script }: Subject): string {
  return `${script}-warmed-up`;
}

function configurationOf(subject: Subject): string {
  const { script, warmUp } = subject;
  if (!warmUp) return "";
  return `[commands.${commandOf(subject)}]\nbin = "${script}"\nwarmup = "${warmUp}"\n`;
}

function columnsOf({ subject, node, bun, own, warm, warmedUp }: Row): string[] {
  const best = median(warmedUp ?? warm);
  const cell = (one: Contender | undefined): string =>
    one ? `${median(one).toFixed(1)} (${(median(one) / best).toFixed(1)})` : "-";
  return [subject.name, ...[node, bun, own, warm, warmedUp].map(cell)];
}

function goalsOf({ subject, node, bun, own, warm, warmedUp }: Row, program: Contender): void {
  const { name } = subject;
  if (subject.isSmall) return noLonger(name, warm, program);
  const one = warmedUp ?? warm;
  const limit = (of: Contender | undefined, called: string, most: number): void => {
    if (of) share(`${one.name} takes`, one, { of, called, most });
  };
  limit(node, "cold node", 1 / nodeGoal);
  limit(bun, "cold bun", 1 / bunGoal);
  limit(own, "its daemon", daemonGoal);
}

function noLonger(name: string, one: Contender, program: Contender): void {
  share(`${name} takes`, one, { of: program, called: "/bin/true by the same client", most: noise });
}

/** Says whether one takes no more than its share of another's time. */
function share(
  what: string,
  one: Contender,
  { of, called, most }: { of: Contender; called: string; most: number },
): void {
  const ratio = median(one) / median(of);
  goal(`${what} ${ratio.toFixed(3)} of ${called}`, most.toFixed(3), ratio <= most);
}

function median(one: Contender): number {
  return quantile(one, 0.5);
}
