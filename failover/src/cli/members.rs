//! The Raft group.

use decision::name::RegionName;
use wire::api::{Intent, Query, Status};

use super::args::MembersVerb;
use super::client::{Answer, Client};
use super::confirm::confirm;
use super::exit::{Exit, Outcome};
use super::output::{Format, Table, print};

pub async fn members(client: &Client, format: Format, verb: MembersVerb) -> Outcome {
    match verb {
        MembersVerb::List => {
            let answer: Answer<Status> = client.read(&Query::Status).await?;
            let status = answer.document;
            print(format, &status.members, |_| text(&status))?;
        }
        MembersVerb::Add { id, region, grpc, witness } => {
            let region = RegionName(region);
            client.intent(&Intent::AddMember { member: id, region, grpc, witness }).await?;
            println!("member {id} votes");
        }
        MembersVerb::Remove { id, yes } => {
            confirm(yes, &format!("this removes member {id} from the group for ever"), &id.to_string())?;
            client.intent(&Intent::RemoveMember { member: id }).await?;
            println!("member {id} is no member any more; it can be stopped");
        }
        MembersVerb::HandOver { to } => {
            client.intent(&Intent::TransferLeadership { to }).await?;
            match to {
                Some(id) => println!("member {id} leads"),
                None => println!("another member leads"),
            }
        }
    }
    Ok(Exit::Done)
}

fn text(status: &Status) -> String {
    let mut table = Table::new(["MEMBER", "REGION", "GRPC", "ROLE", "MATCHED"]);
    for member in &status.members {
        let role = match (status.leader == Some(member.id), member.voter, member.witness) {
            (true, ..) => "leader",
            (_, false, _) => "learner",
            (_, _, true) => "witness",
            _ => "voter",
        };
        table.row([
            member.id.to_string(),
            member.region.to_string(),
            member.grpc.clone(),
            role.into(),
            member.matched.map_or_else(|| "-".into(), |index| index.to_string()),
        ]);
    }
    table.render()
}
