//! The guard: a process apart from the agent, which owns the right to kill PostgreSQL. One guard
//! holds one database instance. `regent-guard` is its program, [`client`] the agent's side.
//!
//! An agent that is killed, frozen or replaced can no longer be trusted to stop its database. So it
//! does not have to: PostgreSQL is the guard's child, and the agent only moves a deadline on. When
//! the deadline passes, every process of that PostgreSQL is killed, whoever asks for what.
//!
//! # The clock
//!
//! `CLOCK_BOOTTIME` of this machine, in nanoseconds: nobody can set it, and it counts while the
//! machine is suspended, so that a machine which wakes too late fences before anything else. A
//! deadline is a moment of it, and has the time that fencing takes taken off already. It means nothing
//! on another machine, after a boot, or in another time namespace; [`client`] checks the last. Whether
//! it counts while a *hypervisor* pauses the whole machine is up to the hypervisor: where it does not,
//! no lease within the machine can know.
//!
//! # What holds
//!
//! - Whoever was armed stays armed until that postmaster and all that it left are proven gone. No
//!   request disarms. To become a replica is to end and to be started as one.
//! - A primary is never without a deadline: it is armed before it is started, a replica before it is
//!   promoted.
//! - Epochs never fall, within the life of a guard; within an epoch the deadline only moves forward;
//!   a lease that reaches over an hour ahead is refused, because it is of another clock.
//! - Once the deadline passed, no lease is taken: not even one that arrives before the first signal.
//! - Fencing reaches processes in any session or group. The proof that none is left is the kernel's:
//!   a subreaper without a child has no descendant.
//! - The end of a postmaster, for whatever reason, is told at once; whoever it left behind is killed,
//!   since a backend without a postmaster may still answer a commit. Only [`protocol::Event::Gone`]
//!   says that the lease may be given back.
//! - No client can hold the guard up: lines, what is read at once and what is kept unsent are bounded,
//!   and time is looked at between any two requests.
//! - The guard in turn is watched by its parent, the backstop. If the guard is killed, the backstop
//!   kills at once what is below; if it does not run at its deadline (frozen, or held by a disk that
//!   hangs while it logs), 20 ms later. If the backstop is killed, the guard goes on
//!   alone, and its status says so.
//!
//! So a fence budget has to cover those 20 ms, the scan of `/proc`, and the time that the kernel takes to
//! signal the processes, which grows with their number: half a second is comfortable for some hundred
//! backends, the 60 ms of `fast` for some dozens.
//!
//! # What does not
//!
//! - Guard *and* backstop killed at the same moment: the postmaster dies with the guard (`PDEATHSIG`),
//!   and idle backends end by themselves; one that is busy ends only when it next waits, and may
//!   answer its commit, and what its client had sent along, before that. Both frozen: nothing is
//!   fenced, but by a watchdog (`--watchdog`), which resets the machine.
//! - A process in uninterruptible sleep takes its SIGKILL but is not gone. It does not run its program
//!   again, so it answers nothing; but the proof is not given until it is gone.
//! - Programs below PostgreSQL that change their user, where the guard does not run as root, cannot be
//!   killed by it, and then the proof is not given either.
//! - What was sent before the deadline may arrive after it: frames in flight are not called back.
//! - The highest epoch is not kept on disk. A new guard holds nothing, and takes any epoch first.
//! - A manager of services that kills the whole control group of the agent kills guard and database
//!   with it; for systemd that is avoided by `KillMode=process`.

mod backstop;
mod begin;
pub mod client;
mod clock;
mod end;
mod hold;
mod launch;
mod link;
mod log;
mod process;
pub mod protocol;
mod serve;
mod watchdog;

pub use begin::{Settings, hold, run};
pub use clock::{now, now_ns};
pub use end::end;
pub use launch::{Exec, exec};
