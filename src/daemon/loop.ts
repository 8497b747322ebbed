/** What every part of the daemon works with: the kernel, the log, and the one loop. */

import type { Sys } from "../../ffi/sys.ts";
import { Scope } from "../base/scope.ts";
import { Poller } from "../os/poller.ts";
import { Timers } from "../os/timers.ts";
import { MessageReceiver } from "../transport/channel.ts";
import type { Log } from "./log.ts";

export class Loop implements Disposable {
  readonly sys: Sys;
  readonly log: Log;
  readonly poller: Poller;
  readonly timers: Timers;
  readonly receiver: MessageReceiver;
  readonly nowMs: () => number;

  constructor(sys: Sys, log: Log, nowMs: () => number) {
    using owned = new Scope();
    this.sys = sys;
    this.log = log;
    this.nowMs = nowMs;
    this.poller = owned.use(
      new Poller(sys, (error) => log.error(`a system call failed, going on: ${error.message}`)),
    );
    this.timers = owned.use(new Timers(sys, nowMs));
    this.receiver = new MessageReceiver(sys);
    this.poller.add(this.timers.raw, () => this.timers.expire());
    owned.move();
  }

  [Symbol.dispose](): void {
    this.timers[Symbol.dispose]();
    this.poller[Symbol.dispose]();
  }
}
