/**
 * The least that a client in Bun can be: it sends a request that others have written, with its directory and 0, 1 and 2,
 * and ends as the job ended. It reads no arguments and no environment, looks for no daemon and trusts what it finds, passes
 * on no signal and says nothing about what goes wrong. What it costs, `prefork run` cannot save.
 */
import { native } from "../../ffi/native.ts";
import { leastRequest, leastSocket } from "./least-files.ts";

const [AT_FDCWD, O_RDONLY, O_PATH, AF_UNIX, SOCK_SEQPACKET, SOL_SOCKET, SCM_RIGHTS] = [
  -100, 0, 0o10000000, 1, 5, 1, 1,
];
const exitedSize = 56;
const exitCodeAt = 25;

const opened = native.dlopen("libc.so.6", {
  openat: { args: ["int", "ptr", "int"], returns: "int" },
  read: { args: ["int", "ptr", "i64"], returns: "i64_fast" },
  socket: { args: ["int", "int", "int"], returns: "int" },
  connect: { args: ["int", "ptr", "int"], returns: "int" },
  sendmsg: { args: ["int", "ptr", "int"], returns: "i64_fast" },
  recv: { args: ["int", "ptr", "i64", "int"], returns: "i64_fast" },
  _exit: { args: ["int"], returns: "int" },
});
if (opened instanceof Error) throw opened;
const libc = opened.symbols as Record<
  "openat" | "read" | "socket" | "connect" | "sendmsg" | "recv" | "_exit",
  (...values: number[]) => number
>;

const memory = new DataView(new ArrayBuffer(8192));
const start = native.ptr(memory.buffer) as number;
// What is where in it: the socket's address, names, msghdr, iovec, cmsghdr, the request, the answers.
const [name, message, vector, control, request, answer] = [128, 256, 320, 400, 1024, 4096];

function text(at: number, value: string): number {
  for (let index = 0; index < value.length; index++) {
    memory.setUint8(at + index, value.charCodeAt(index));
  }
  memory.setUint8(at + value.length, 0);
  return start + at;
}

function pointer(at: number, to: number): void {
  memory.setUint32(at, to % 2 ** 32, true);
  memory.setUint32(at + 4, Math.floor(to / 2 ** 32), true);
}

const file = libc.openat(AT_FDCWD, text(name, leastRequest), O_RDONLY);
const size = libc.read(file, start + request, answer - request);
const directory = libc.openat(AT_FDCWD, text(name, "."), O_PATH);
const socket = libc.socket(AF_UNIX, SOCK_SEQPACKET, 0);
memory.setUint16(0, AF_UNIX, true);
text(2, leastSocket);
libc.connect(socket, start, 2 + leastSocket.length + 1);
pointer(vector, start + request);
memory.setUint32(vector + 8, size, true);
pointer(message + 16, start + vector);
memory.setUint32(message + 24, 1, true);
pointer(message + 32, start + control);
memory.setUint32(message + 40, 32, true);
memory.setUint32(control, 32, true);
memory.setInt32(control + 8, SOL_SOCKET, true);
memory.setInt32(control + 12, SCM_RIGHTS, true);
memory.setInt32(control + 16, directory, true);
memory.setInt32(control + 20, 0, true);
memory.setInt32(control + 24, 1, true);
memory.setInt32(control + 28, 2, true);
libc.sendmsg(socket, start + message, 0);
libc.recv(socket, start + answer, 1024, 0); // accepted
const received = libc.recv(socket, start + answer, 1024, 0);
libc._exit(received === exitedSize ? memory.getUint8(answer + exitCodeAt) : 125);
