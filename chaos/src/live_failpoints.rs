//! `chaos live-failpoints`: real processes killed at every boundary of what plans do, one after the other.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use chaos::live::scenario::{Crash, Runner, Story, Verdict, begin_with};
use chaos::live::{Cluster, Mode, Options, Profile};
use wire::failpoint;

#[derive(clap::Args)]
pub struct Flags {
    /// Only points whose name has this in it
    #[arg(long, value_name = "TEXT", default_value = "")]
    point: String,
    /// Only this story
    #[arg(long, value_enum)]
    story: Option<Story>,
    /// How long whoever was killed stays down
    #[arg(long, value_name = "MS", default_value_t = 100)]
    down_ms: u64,
    /// Nobody is killed: which points each story passes
    #[arg(long)]
    rehearse: bool,
    /// A line of JSON for each, instead of words
    #[arg(short, long, value_name = "FORMAT", value_parser = ["json"])]
    output: Option<String>,
    /// Leave data and logs
    #[arg(long)]
    keep: bool,
}

pub fn run(flags: &Flags) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        failpoint::ARE_BUILT,
        "this program was built without failpoints, and so were those beside it: build without --release"
    );
    let mut wanted: Vec<(Story, String)> = Vec::new();
    for story in Story::ALL {
        if flags.story.is_none_or(|only| only == story) {
            let points = story.points().into_iter().filter(|point| point.contains(&flags.point));
            wanted.extend(points.map(|point| (story, point)));
        }
    }
    if flags.rehearse {
        return rehearse(flags);
    }
    let mut place =
        Place { down: Duration::from_millis(flags.down_ms), keep: flags.keep, cluster: None, next_id: 1 };
    let mut failed = 0;
    for (n, (story, point)) in wanted.iter().enumerate() {
        eprintln!("{} of {}: {story:?} {point}", n + 1, wanted.len());
        let crash = match place.crash_at(*story, point) {
            Ok(crash) => crash,
            Err(error) => Crash::never_ended(*story, point, &error),
        };
        if crash.verdict != Verdict::Passed {
            failed += 1;
            // Whatever is wrong with it is no fault of the next.
            place.cluster = None;
        }
        tell(flags, &crash)?;
    }
    eprintln!("{} points, {failed} failed", wanted.len());
    Ok(if failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn options() -> Options {
    Options { with_provider: true, ..Options::new(Profile::Balanced, Mode::Sync) }
}

/// Where it happens: one cluster for all, as long as it is well.
struct Place {
    down: Duration,
    keep: bool,
    cluster: Option<Cluster>,
    next_id: i64,
}

impl Place {
    fn crash_at(&mut self, story: Story, point: &str) -> anyhow::Result<Crash> {
        if story == Story::Begins {
            // Not two at once.
            self.cluster = None;
            let (cluster, crash) = begin_with(options(), point)?;
            self.take(cluster);
            return Ok(crash);
        }
        if self.cluster.is_none() {
            let cluster = Cluster::start(options())?;
            self.take(cluster);
        }
        let cluster = self.cluster.as_ref().context("there is no cluster")?;
        let mut runner = Runner::after(cluster, self.next_id);
        runner.down = self.down;
        let crash = runner.crash_at(story, point);
        self.next_id = runner.next_id();
        crash
    }

    fn take(&mut self, mut cluster: Cluster) {
        if self.keep {
            cluster.keep_folder();
        }
        (self.cluster, self.next_id) = (Some(cluster), 1);
    }
}

fn rehearse(flags: &Flags) -> anyhow::Result<ExitCode> {
    let cluster = Cluster::start(options())?;
    let mut runner = Runner::new(&cluster);
    for story in Story::ALL {
        if story == Story::Begins || flags.story.is_none_or(|only| only == story) {
            let passed = runner.rehearse(story)?;
            let missing: Vec<String> =
                story.points().into_iter().filter(|point| !passed.contains(point)).collect();
            println!("{story:?}: passed {passed:?}, missing {missing:?}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(flags: &Flags, crash: &Crash) -> anyhow::Result<()> {
    if flags.output.is_some() {
        println!("{}", serde_json::to_string(crash)?);
        return Ok(());
    }
    let Crash { story, point, process, verdict, unavailability_ms, well_after_ms, .. } = crash;
    let unavailable = unavailability_ms.map_or("-".to_owned(), |ms| format!("{ms:.0} ms"));
    println!(
        "{story:?} {point}: {} killed: {verdict:?}; unavailable {unavailable}, well after {well_after_ms:.0} ms",
        process.join(", ")
    );
    Ok(())
}
