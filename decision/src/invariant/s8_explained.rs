//! S8: the journal's chain goes on unbroken, and nothing acts without an entry in it.

use super::Found;
use crate::database::Owner;
use crate::database::alone::Leave;
use crate::event::Event;
use crate::journal::Entry;
use crate::plan::Epoch;
use crate::state::State;

pub(super) fn check(before: &State, after: &State, found: &mut Found) {
    let (was, is) = (before.journal.last_seq(), after.journal.last_seq());
    found.unless(is > was || !acted(before, after), "S8", || {
        format!("something acted at index {} without an entry after {was}", after.index)
    });
    for (service, held) in &after.databases {
        let had = before.databases.get(service).map(|had| (had.epoch, &had.owner));
        let is_granted = matches!(held.owner, Owner::Held(_)) && had != Some((held.epoch, &held.owner));
        let is_told = || {
            after.journal.after(was).any(|entry| match &entry.event {
                Event::LeaseGranted { service: of, epoch, .. } => (of, *epoch) == (service, held.epoch),
                _ => false,
            })
        };
        // Where there is no entry at all, that was said already.
        found.unless(is == was || !is_granted || is_told(), "S8", || {
            format!("{service} was granted at {}, and the journal does not tell", held.epoch)
        });
    }
    // Only what is new can have broken it; a whole verification costs tens of milliseconds.
    let mut head = before.journal.head();
    for (entry, seq) in after.journal.after(was).zip(was + 1..) {
        let follows = entry.seq == seq && entry.hash == Entry::hash_after(head, entry);
        found.unless(follows, "S8", || format!("journal entry {seq} does not follow from the one before"));
        head = entry.hash;
    }
    found.unless(head == after.journal.head(), "S8", || "the journal's head is not its newest entry".into());
}

fn owners(state: &State) -> Vec<(Epoch, &Owner, Option<Leave>)> {
    state.databases.values().map(|held| (held.epoch, &held.owner, held.alone)).collect()
}

fn acted(before: &State, after: &State) -> bool {
    let placed = |state: &State| -> Vec<_> {
        let of = state.services.iter();
        of.map(|(name, placement)| {
            (name.clone(), placement.primary.clone(), placement.epoch, placement.left_out.clone())
        })
        .collect()
    };
    before.config_generation != after.config_generation
        || before.paused != after.paused
        || before.drained != after.drained
        || before.plans != after.plans
        || before.databases.len() != after.databases.len()
        || owners(before) != owners(after)
        || before.zones != after.zones
        || before.moves.last() != after.moves.last()
        || placed(before) != placed(after)
}
