//! `chaos net`: a network for as long as one program runs.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use chaos::net::{Link, Net};

#[derive(clap::Args)]
pub struct Flags {
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', required = true)]
    regions: Vec<String>,
    /// There and back, as in 40ms.
    #[arg(long, value_name = "TIME", default_value = "0ms", value_parser = duration)]
    rtt: Duration,
    /// On top of each way, at most.
    #[arg(long, value_name = "TIME", default_value = "0ms", value_parser = duration)]
    jitter: Duration,
    /// Of each way, as in 1%.
    #[arg(long, value_name = "SHARE", default_value = "0%", value_parser = share)]
    loss: f64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What to run in the first region.
    #[arg(last = true, value_name = "PROGRAM", required = true)]
    program: Vec<String>,
}

pub fn run(flags: &Flags) -> anyhow::Result<ExitCode> {
    let regions: Vec<&str> = flags.regions.iter().map(String::as_str).collect();
    let net = Net::seeded("hand", &regions, flags.seed)?;
    let link = Link { jitter: flags.jitter, loss: flags.loss, ..Link::delayed(flags.rtt / 2) };
    net.change(|_, _, own| *own = link)?;
    for region in &regions {
        eprintln!("{region}: {}, ip netns exec {} …", net.address(region)?, net.namespace(region)?);
    }
    let (program, args) = flags.program.split_first().context("clap asks for a program")?;
    let status = net.command(regions[0], program)?.args(args).status().context("cannot run ip")?;
    for from in &regions {
        for to in regions.iter().filter(|to| *to != from) {
            let count = net.count(from, to)?;
            if count.offered.frames > 0 {
                eprintln!("{from} to {to}: {count:?}");
            }
        }
    }
    Ok(ExitCode::from(status.code().unwrap_or(1) as u8))
}

pub fn sweep() -> anyhow::Result<ExitCode> {
    for name in chaos::net::sweep()? {
        println!("removed {name}");
    }
    for disk in chaos::live::sweep_disks()? {
        println!("unmounted {}", disk.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn duration(text: &str) -> Result<Duration, String> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[number.len()..] {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        _ => return Err("give a number and us, ms or s, as in 40ms".into()),
    };
    let number: f64 = number.parse().map_err(|_| format!("{number:?} is no number"))?;
    Duration::try_from_secs_f64(number * unit).map_err(|error| error.to_string())
}

fn share(text: &str) -> Result<f64, String> {
    let percent = text.strip_suffix('%').ok_or("give per cent, as in 1%")?;
    let percent: f64 = percent.parse().map_err(|_| format!("{percent:?} is no number"))?;
    Ok(percent / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_shares_are_read() {
        assert_eq!(duration("40ms"), Ok(Duration::from_millis(40)));
        assert_eq!(duration("0.5s"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("250us"), Ok(Duration::from_micros(250)));
        assert!(duration("40").is_err() && duration("ms").is_err() && duration("-1s").is_err());
        assert_eq!(share("1%"), Ok(0.01));
        assert!(share("0.01").is_err());
    }
}
