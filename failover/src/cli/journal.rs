//! What happened, and why.

use std::time::Duration;

use decision::journal::Entry;
use decision::time::rfc3339;
use wire::api::{JournalPage, Query};

use super::args::JournalArgs;
use super::client::{Answer, Client};
use super::exit::{Exit, Failure, Outcome};
use super::output::{Format, print};

const LOOK_EVERY: Duration = Duration::from_millis(500);

pub async fn journal(client: &Client, format: Format, args: JournalArgs) -> Outcome {
    let mut after = args.after;
    if after == 0 {
        // The newest are wanted: ask where the end is.
        let end: Answer<JournalPage> = client.read(&Query::Journal { after: u64::MAX - 1, limit: 1 }).await?;
        after = end.document.last_seq.saturating_sub(u64::from(args.limit));
    }
    loop {
        let answer: Answer<JournalPage> = client.read(&Query::Journal { after, limit: args.limit }).await?;
        let page = answer.document;
        if !page.intact {
            return Err(Failure::error("the journal's chain is broken: entries were altered or lost"));
        }
        if !page.entries.is_empty() || !args.follow {
            print(format, &page, |wide| page.entries.iter().map(|entry| line(entry, wide)).collect())?;
        }
        if !args.follow {
            return Ok(Exit::Done);
        }
        after = page.entries.last().map_or(after, |entry| entry.seq);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn line(entry: &Entry, wide: bool) -> String {
    let hash = if wide { format!("  {:.12}", entry.hash.to_string()) } else { String::new() };
    format!("{:>6}  {}  {:<28}  {}{hash}\n", entry.seq, rfc3339(entry.at), entry.by, entry.event)
}
