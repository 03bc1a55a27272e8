//! The only way the state changes. What protects data or traffic is checked here once more,
//! whatever the leader believed: a stale parent, an epoch that does not rise, a broken limit is
//! refused and the refusal is journalled. These checks are few and change slowly, because
//! controllers of neighbouring versions must agree on them.

mod alone;
mod config;
mod database;
mod drill;
mod evidence;
mod operator;
mod plan;
mod session;
mod step;
#[cfg(test)]
mod tests;
mod verdict;
mod zone;

pub(crate) use database::check_grant;

use crate::command::{Command, Outcome, Refusal, Stamped};
use crate::database::Proof;
use crate::event::Event;
use crate::state::State;

/// Longest text kept of a reason or a note, in bytes.
const KEPT_TEXT: usize = 4_096;
const KEPT_REASON: usize = 300;

/// What a command did: changed something, found it so already, or was refused.
type Applied = Result<bool, Refusal>;

/// Where and for whom a command is applied.
struct Context<'a> {
    index: u64,
    by: &'a str,
}

impl State {
    /// Applies one entry of the log. `index` is its place there.
    pub fn apply(&mut self, index: u64, stamped: Stamped) -> Outcome {
        self.index = self.index.max(index);
        self.now = self.now.max(stamped.at);
        let context = Context { index: self.index, by: &stamped.by };
        self.apply_command(&context, stamped.command)
    }

    fn apply_command(&mut self, context: &Context, command: Command) -> Outcome {
        if let Command::Batch { commands } = command {
            let outcomes = commands.into_iter().map(|command| self.apply_command(context, command)).collect();
            return Outcome::Batch { outcomes };
        }
        let what = subject(&command);
        // What an agent told is its own word, whoever put it beside what follows.
        let teller = match &command {
            Command::ReportInstance { agent, .. } | Command::ReleaseLease { agent, .. } => {
                Some(format!("agent/{agent}"))
            }
            _ => None,
        };
        let context = &Context { by: teller.as_deref().unwrap_or(context.by), ..*context };
        match self.dispatch(context, command) {
            Ok(true) => Outcome::Applied { seq: self.journal.last_seq() },
            Ok(false) => Outcome::Unchanged,
            Err(refusal) => {
                self.refuse(context, what, refusal.to_string());
                Outcome::Refused { refusal }
            }
        }
    }

    fn dispatch(&mut self, context: &Context, command: Command) -> Applied {
        match command {
            Command::Batch { .. } => Ok(false),
            Command::SetConfig { parent_generation, config } => {
                config::set(self, context, parent_generation, *config)
            }
            Command::OpenSession { agent, info } => session::open(self, context, agent, info),
            Command::LoseSession { agent } => session::lose(self, context, agent),
            Command::Evidence { vantage, findings } => evidence::take(self, context, vantage, findings),
            Command::SetVerdict { region, service, assessment } => {
                verdict::set(self, context, region, service, assessment)
            }
            Command::Hold { explanation } => verdict::hold(self, context, explanation),
            Command::OpenPlan { plan, explanation } => plan::open(self, context, plan, explanation),
            Command::Approve { plan } => plan::approve(self, context, plan),
            Command::Cancel { plan, why } => plan::cancel(self, context, plan, why),
            Command::EndPlan { plan, status } => plan::end(self, context, plan, status),
            Command::StartStep { plan, step, attempt } => step::start(self, context, plan, step, attempt),
            Command::StepDone { plan, step, attempt, epoch, result } => {
                step::done(self, context, plan, step, attempt, epoch, result)
            }
            Command::ReportInstance { agent, service, report } => {
                database::report(self, context, &agent, &service, report)
            }
            Command::ReleaseLease { agent, service, epoch, clean, last_known, unwritten, why } => {
                let proof = Proof::Released { clean, last_known };
                let ended = database::Ended { proof, unwritten, why };
                database::release(self, context, &agent, &service, epoch, ended)
            }
            Command::ExpireLease { service, epoch, heard, position, told_at } => {
                database::expire(self, context, &service, epoch, heard, position, told_at)
            }
            Command::GoAlone { service, epoch, number } => alone::go(self, context, &service, epoch, number),
            Command::EndAlone { service, epoch, number } => {
                alone::end(self, context, &service, epoch, number)
            }
            Command::Reinit { service, region, number } => {
                database::reinit(self, context, &service, region, number)
            }
            Command::Pause { why } => operator::pause(self, context, why),
            Command::Resume => operator::resume(self, context),
            Command::Drain { region, why } => operator::drain(self, context, region, why),
            Command::Undrain { region } => operator::undrain(self, context, region),
            Command::BeginDrill { drill, wish } => drill::begin(self, context, drill, wish),
            Command::RenewDrill { drill } => drill::renew(self, drill),
            Command::EndDrill { drill, why, by_guard } => drill::end(self, context, drill, why, by_guard),
            Command::ReportDrill { drill, report } => drill::report(self, context, drill, *report),
            Command::ReportRefusal { what, why } => Ok(self.refuse(context, what, why)),
            Command::Note { text } => {
                if text.len() > KEPT_TEXT {
                    return Err(Refusal::TooLong {
                        what: "the note".into(),
                        actual: text.len(),
                        limit: KEPT_TEXT,
                    });
                }
                self.record(context, Event::Note { text });
                Ok(true)
            }
        }
    }

    /// One that only repeats the newest entry is not written again: a caller that asks on and on
    /// must not push what matters out of the journal.
    fn refuse(&mut self, context: &Context, what: String, why: String) -> bool {
        let event = Event::Refused { what: kept(what, KEPT_REASON), why: kept(why, KEPT_REASON) };
        let last = self.journal.entries().next_back();
        if last.is_some_and(|last| last.by == context.by && last.event == event) {
            return false;
        }
        self.record(context, event);
        true
    }

    fn record(&mut self, context: &Context, event: Event) -> u64 {
        self.journal.append(self.now, context.by, event)
    }
}

/// A text cut to at most `limit` bytes, at a character's end.
fn kept(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        let end = (0..=limit).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// What a refused command wanted, in a few words.
fn subject(command: &Command) -> String {
    match command {
        Command::Batch { .. } => "a batch".into(),
        Command::SetConfig { parent_generation, .. } => {
            format!("a configuration after generation {parent_generation}")
        }
        Command::OpenSession { agent, .. } => format!("a session of agent {agent}"),
        Command::LoseSession { agent } => format!("the end of agent {agent}'s session"),
        Command::Evidence { vantage, .. } => format!("evidence of {vantage}"),
        Command::SetVerdict { region, .. } => format!("a verdict on {region}"),
        Command::Hold { explanation } => format!("an explanation on {}", explanation.service),
        Command::OpenPlan { plan, .. } => {
            format!("{} of {} to {} at epoch {}", plan.kind, plan.service, plan.to, plan.epoch)
        }
        Command::Approve { plan } => format!("approval of {plan}"),
        Command::Cancel { plan, .. } => format!("cancelling {plan}"),
        Command::StartStep { plan, step, attempt } => format!("attempt {attempt} at {plan} step {step}"),
        Command::StepDone { plan, step, epoch, .. } => {
            format!("the result of {plan} step {step} at epoch {epoch}")
        }
        Command::EndPlan { plan, .. } => format!("the end of {plan}"),
        Command::ReportInstance { agent, service, .. } => {
            format!("a report on the database of {service} by {agent}")
        }
        Command::ReleaseLease { agent, service, epoch, .. } => {
            format!("the end of the lease of {service} at epoch {epoch} by {agent}")
        }
        Command::ExpireLease { service, epoch, .. } => {
            format!("the expiry of the lease of {service} at epoch {epoch}")
        }
        Command::GoAlone { service, epoch, .. } => {
            format!("leave for {service} to acknowledge alone at epoch {epoch}")
        }
        Command::EndAlone { service, epoch, .. } => {
            format!("the end of acknowledging alone for {service} at epoch {epoch}")
        }
        Command::Reinit { service, region, .. } => {
            format!("copying the database of {service} in {region} anew")
        }
        Command::Pause { .. } => "a pause".into(),
        Command::Resume => "resuming".into(),
        Command::Drain { region, .. } => format!("draining {region}"),
        Command::Undrain { region } => format!("undraining {region}"),
        Command::BeginDrill { drill, wish } => {
            format!("{drill}, {} in {}", wish.scenario, wish.region)
        }
        Command::RenewDrill { drill } => format!("going on with {drill}"),
        Command::EndDrill { drill, .. } => format!("the end of {drill}"),
        Command::ReportDrill { drill, .. } => format!("the report of {drill}"),
        Command::ReportRefusal { .. } => "a refusal".into(),
        Command::Note { .. } => "a note".into(),
    }
}
