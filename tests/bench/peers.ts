/**
 * Other programs that hand a command to a running process, for those who want to compare. They are measured only where
 * they are installed. s6-sudo passes descriptors and nothing else of the context; nailgun runs a Java class in its one
 * process; ssh copies all bytes.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Sandbox } from "../helpers/sandbox.ts";
import { until } from "../helpers/wait.ts";

/** Starting takes a Java machine and two handshakes, on a slow machine. */
const startTimeoutMs = 60_000;

export interface Peer {
  readonly key: string;
  readonly name: string;
  readonly command: readonly string[];
}

export interface Peers {
  readonly there: readonly Peer[];
  /** One line about each that is not. */
  readonly missing: readonly string[];
}

interface Candidate {
  readonly key: string;
  readonly name: string;
  /** All of these are needed: programs in PATH, or files. */
  readonly needs: readonly string[];
  /** Starts what it needs, which the sandbox ends. @returns the command to be measured. */
  readonly start: (box: Sandbox, needed: readonly string[]) => readonly string[];
}

const candidates: readonly Candidate[] = [
  {
    key: "peerS6",
    name: "s6-sudo, /bin/true",
    needs: ["s6-sudo", "s6-ipcserver", "s6-sudod"],
    start: (box, [client = "", server = "", daemon = ""]) => {
      const socket = join(box.runtime, "s6");
      box.start([server, socket, daemon, "/bin/true"]);
      return [client, socket];
    },
  },
  {
    key: "peerNailgun",
    name: "nailgun, a class in its own process",
    needs: ["ng-nailgun", "java", "/usr/share/java/nailgun-server.jar"],
    start: (box, [client = "", java = "", server = ""]) => {
      const port = `${freePort()}`;
      const main = "com.martiansoftware.nailgun.NGServer";
      box.start([java, "-cp", server, main, `127.0.0.1:${port}`]);
      return [client, "--nailgun-server", "127.0.0.1", "--nailgun-port", port, "ng-version"];
    },
  },
  {
    key: "peerSsh",
    name: "ssh, multiplexed, /bin/true",
    needs: ["ssh", "ssh-keygen", "/usr/sbin/sshd", "/run/sshd"],
    start: (box, [client = "", keygen = "", daemon = ""]) => {
      const [key, socket] = [box.path("ssh-key"), join(box.runtime, "ssh")];
      Bun.spawnSync([keygen, "-q", "-t", "ed25519", "-N", "", "-f", key]);
      // bash reads the user's .bashrc under sshd, which may take seconds, unless it was started by another shell.
      const configuration = box.write(
        "sshd_config",
        `HostKey ${key}\nAuthorizedKeysFile ${key}.pub\nStrictModes no\nUsePAM no\n` +
          "PermitRootLogin yes\nPidFile none\nSetEnv SHLVL=2\n",
      );
      const options = [
        `ProxyCommand=${daemon} -i -f ${configuration}`,
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "BatchMode=yes",
      ].flatMap((option) => ["-o", option]);
      box.start([client, "-F", "none", "-i", key, "-M", "-N", "-S", socket, ...options, "peer"]);
      // Without its master it is not to look for a machine of that name.
      const alone = ["-F", "none", "-o", "ProxyCommand=false"];
      return [client, ...alone, "-S", socket, "peer", "/bin/true"];
    },
  },
];

export async function startPeers(box: Sandbox): Promise<Peers> {
  const there: Peer[] = [];
  const missing: string[] = [];
  for (const { key, name, needs, start } of candidates) {
    const found = needs.map(find);
    const lacking = needs.filter((_, index) => found[index] === undefined);
    if (lacking.length > 0) {
      missing.push(`${name}: not measured, there is no ${lacking.join(", ")}`);
      continue;
    }
    const command = start(box, found as string[]); // none is lacking
    try {
      await until(
        `${name} answers`,
        async () => (await box.run(command)).end === 0,
        startTimeoutMs,
      );
      there.push({ key, name, command });
    } catch (error) {
      missing.push(`${name}: ${error instanceof Error ? error.message : error}`);
    }
  }
  return { there, missing };
}

function find(name: string): string | undefined {
  if (name.startsWith("/")) return existsSync(name) ? name : undefined;
  return Bun.which(name) ?? undefined;
}

function freePort(): number {
  const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => {} } });
  const { port } = listener;
  listener.stop(true);
  return port;
}
