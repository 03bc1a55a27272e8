//! The process all frames go through. One of its own, and in real time: a test that is busy or stopped in a
//! debugger does not distort the network it tests, and when its owner dies, by whatever signal, it sees the
//! end of its orders and removes the namespaces with all that runs inside.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::Command;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::prctl::set_timerslack;
use nix::sys::time::TimeSpec;
use nix::unistd::read;
use wire::host::{Random, SeededRandom};

use super::Error;
use super::error::During;
use super::line::{Line, MOST_BYTES};
use super::order::{Answer, Order};
use super::port::{MOST_FRAME, Port, destination};
use super::space::{Space, remove_all};

/// So many frames of one region are taken before others have their turn.
const BATCH: usize = 64;

/// Makes the namespaces, joins them until there are no more orders, and removes them.
pub fn run(spaces: Vec<String>, seed: u64) -> Result<(), Error> {
    let spaces: Vec<Space> = spaces.into_iter().map(Space::named).collect();
    let served = serve(&spaces, seed);
    if let Err(error) = &served {
        // When the owner is gone too, nobody is left to tell.
        let _ = answer(&Answer::Failed(error.to_string()));
    }
    served.and(remove_all(&spaces))
}

fn serve(spaces: &[Space], seed: u64) -> Result<(), Error> {
    let mut ports = Vec::new();
    for (place, space) in spaces.iter().enumerate() {
        space.make()?;
        ports.push(Port::open(space, place)?);
    }
    be_prompt()?;
    answer(&Answer::Ready)?;
    let mut lines = Lines::new(ports.len(), seed);
    let mut orders = Orders { stdin: io::stdin(), begun: Vec::new() };
    let mut buffer = vec![0; MOST_FRAME];
    loop {
        let ready = wait(orders.stdin.as_fd(), &ports, lines.next_due())?;
        if ready[0] {
            let Some(orders) = orders.take()? else { return Ok(()) };
            for order in orders {
                answer(&lines.obey(order))?;
            }
        }
        let now = Instant::now();
        for (from, port) in ports.iter().enumerate().filter(|(from, _)| ready[from + 1]) {
            for _ in 0..BATCH {
                let taken = port.take(&mut buffer);
                let taken = taken.during(format!("reading the device of {}", spaces[from].name()))?;
                let Some(frame) = taken else { break };
                if let Some(to) = destination(frame, ports.len()) {
                    lines.between(from, to).offer(frame, now);
                }
            }
        }
        lines.deliver(&ports);
    }
}

/// Asks to be woken at once: not up to 50 µs late, to save power, nor at the end of the tick of whoever runs,
/// which on a busy machine is 4 ms.
fn be_prompt() -> Result<(), Error> {
    set_timerslack(1).during("asking for exact timers")?;
    let chrt = ["--rr", "--reset-on-fork", "--pid", "1", &std::process::id().to_string()];
    let done = Command::new("chrt").args(chrt).output();
    if !done.is_ok_and(|output| output.status.success()) {
        eprintln!(
            "the switch may not run in real time; while the machine is busy, frames take longer than told"
        );
    }
    Ok(())
}

/// Until one can be read or it is time; says which can be read.
fn wait(orders: BorrowedFd<'_>, ports: &[Port], until: Option<Instant>) -> Result<Vec<bool>, Error> {
    let fds = [orders].into_iter().chain(ports.iter().map(AsFd::as_fd));
    let mut fds: Vec<PollFd<'_>> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
    let timeout = until.map(|until| TimeSpec::from(until.saturating_duration_since(Instant::now())));
    match ppoll(&mut fds, timeout, None) {
        Ok(_) => Ok(fds.iter().map(|fd| fd.any().unwrap_or(true)).collect()),
        Err(Errno::EINTR) => Ok(vec![false; fds.len()]),
        Err(error) => Err(error).during("waiting for frames"),
    }
}

/// Of every ordered pair.
struct Lines {
    regions: usize,
    lines: Vec<Line>,
}

impl Lines {
    fn new(regions: usize, seed: u64) -> Lines {
        // Each has its own luck, so that traffic of one pair does not shift that of another.
        let root = SeededRandom::new(seed).next_u64();
        let lines = (0..regions * regions).map(|pair| Line::new(root ^ pair as u64, MOST_BYTES)).collect();
        Lines { regions, lines }
    }

    fn between(&mut self, from: usize, to: usize) -> &mut Line {
        &mut self.lines[from * self.regions + to]
    }

    fn next_due(&self) -> Option<Instant> {
        self.lines.iter().filter_map(Line::next_due).min()
    }

    fn deliver(&mut self, ports: &[Port]) {
        let now = Instant::now();
        for (pair, line) in self.lines.iter_mut().enumerate() {
            while let Some(frame) = line.take_due(now) {
                match ports[pair % self.regions].give(&frame) {
                    Ok(_) => line.delivered(&frame),
                    Err(_) => line.refused(),
                }
            }
        }
    }

    fn obey(&mut self, order: Order) -> Answer {
        match order {
            Order::Set(links) => {
                for (from, to, link) in links {
                    self.between(from, to).set(link);
                }
                Answer::Done
            }
            Order::Count { from, to } => Answer::Count(self.between(from, to).count()),
        }
    }
}

/// Orders from standard input, of which any part may have come.
struct Orders {
    stdin: io::Stdin,
    begun: Vec<u8>,
}

impl Orders {
    /// Those that are complete; none at all when there will be no more. Only asked when there is something.
    fn take(&mut self) -> Result<Option<Vec<Order>>, Error> {
        let mut chunk = [0; 65_536];
        let length = read(&self.stdin, &mut chunk).during("reading orders")?;
        if length == 0 {
            return Ok(None);
        }
        self.begun.extend_from_slice(&chunk[..length]);
        let mut orders = Vec::new();
        while let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.begun.drain(..=end).collect();
            orders.push(serde_json::from_slice(&line).during("understanding an order")?);
        }
        Ok(Some(orders))
    }
}

fn answer(answer: &Answer) -> Result<(), Error> {
    let mut line = serde_json::to_vec(answer).during("writing an answer")?;
    line.push(b'\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(&line).and_then(|()| stdout.flush()).during("answering")
}
