//! Roles that clients log in as, and the databases that are made for them.

use std::collections::BTreeMap;

use super::no_role;
use crate::config::Database;
use crate::config::check::Finding;
use crate::config::place::Place;

pub(super) fn check(database: &Database, at: &Place, found: &mut Vec<Finding>) {
    let users = at.key("users");
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for user in &database.users {
        let here = users.key(&user.name);
        name(database, &user.name, &here, at, found);
        if user.password.is_none() {
            found.push(Finding::error(
                here.clone(),
                format!("{} has no password to log in by", user.name),
                "add `password_file: /etc/regent/app.password`, or `password_env`; the password itself never stands here",
            ));
        }
        let Some(own) = &user.database else { continue };
        let here = here.key("database");
        if let Some(why) = no_database(own) {
            let message = format!("{own:?} cannot be a database of its own: {why}");
            found.push(Finding::error(here, message, "write for example `database: app`"));
        } else if let Some(other) = owners.insert(own, &user.name) {
            found.push(
                Finding::error(
                    here,
                    format!("database {own} has one owner, and both {other} and {} would be it", user.name),
                    "keep `database` with one of them; in SQL that one grants the other what it needs",
                )
                .related(users.key(other).key("database")),
            );
        }
    }
}

fn name(database: &Database, name: &str, here: &Place, at: &Place, found: &mut Vec<Finding>) {
    let taken = [
        (&database.superuser, at.key("superuser"), "rules the database, over a private socket alone"),
        (&database.replication.user, at.key("replication").key("user"), "copies the whole database"),
    ];
    if let Some(why) = no_role(name) {
        let message = format!("{name:?} cannot be a role: {why}");
        found.push(Finding::error(here.clone(), message, "write for example app").of_key());
    } else if let Some((_, other, does)) = taken.into_iter().find(|(role, ..)| *role == name) {
        let message = format!("{name} is the role of Regent's that {does}: no client may have it");
        let finding = Finding::error(here.clone(), message, "write a role of its own, such as app");
        found.push(finding.of_key().related(other));
    }
}

/// Quoted and unquoted it has to mean the same, as a role does.
fn no_database(name: &str) -> Option<&'static str> {
    match name {
        "postgres" | "template0" | "template1" => Some("every PostgreSQL has it, and it is the superuser's"),
        "replication" | "sameuser" | "samerole" | "samegroup" => {
            Some("to PostgreSQL the word means something else")
        }
        _ => no_role(name),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::check::check;
    use crate::config::check::example::{only, with_database};
    use crate::config::{Config, SecretSource, User};

    fn user(name: &str, database: Option<&str>) -> User {
        let password = Some(SecretSource::Env("APP".to_owned()));
        User { name: name.to_owned(), password, database: database.map(str::to_owned) }
    }

    fn with(users: &[User]) -> Config {
        let mut config = with_database();
        config.services.get_mut(&"app".into()).unwrap().database.as_mut().unwrap().users = users.to_vec();
        config
    }

    fn expect(users: &[User], key: &str, message: &str) {
        let (_, place, said) = only(&with(users));
        assert_eq!(
            (place.as_str(), said.as_str()),
            (&*format!("services.app.database.users.{key}"), message)
        );
    }

    #[test]
    fn sound_users() {
        let users = [user("app", Some("app")), user("reader", None), user("other", Some("other_data"))];
        assert_eq!(check(&with(&users)), []);
    }

    #[test]
    fn names_that_cannot_be() {
        let words = "lower-case letters, digits and underscores, no digit first, at most 63";
        for wrong in ["App", "a-b", "7up", "a b"] {
            expect(&[user(wrong, None)], wrong, &format!("{wrong:?} cannot be a role: {words}"));
            let message = format!("{wrong:?} cannot be a database of its own: {words}");
            expect(&[user("app", Some(wrong))], "app.database", &message);
        }
        for wrong in ["postgres", "template1"] {
            let message = format!(
                "{wrong:?} cannot be a database of its own: every PostgreSQL has it, and it is the superuser's"
            );
            expect(&[user("app", Some(wrong))], "app.database", &message);
        }
        for wrong in ["all", "replication", "sameuser"] {
            let message = format!(
                "{wrong:?} cannot be a database of its own: to PostgreSQL the word means something else"
            );
            expect(&[user("app", Some(wrong))], "app.database", &message);
        }
    }

    #[test]
    fn roles_that_are_regents() {
        let message = "postgres is the role of Regent's that rules the database, over a private socket alone: no client \
                       may have it";
        expect(&[user("postgres", None)], "postgres", message);
        let message = "regent_replication is the role of Regent's that copies the whole database: no client may have it";
        expect(&[user("regent_replication", None)], "regent_replication", message);
    }

    #[test]
    fn no_password_and_two_owners() {
        let without = User { password: None, ..user("app", None) };
        expect(&[without], "app", "app has no password to log in by");
        expect(
            &[user("a", Some("shared")), user("b", Some("shared"))],
            "b.database",
            "database shared has one owner, and both a and b would be it",
        );
    }
}
