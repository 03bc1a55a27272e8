//! Who is let in: Regent's lines of `pg_hba.conf`. The first line that fits a connection decides.

use super::settings::{Settings, User};

pub(super) fn lines(settings: &Settings) -> Vec<String> {
    let (superuser, replication) = (&settings.superuser, &settings.replication_user);
    let mut lines = vec![
        format!("local postgres \"{superuser}\" peer map=regent"),
        format!("host replication \"{replication}\" all scram-sha-256"),
        // pg_rewind reads through SQL.
        format!("host postgres \"{replication}\" all scram-sha-256"),
    ];
    lines.extend(settings.hba.iter().cloned());
    lines.extend(settings.users.iter().filter_map(|user| line_for(user, &settings.hba)));
    lines
}

/// From anywhere, by password; none when a line of the operator's is about this user and its database:
/// then those lines alone say from where it may come, and ours would open what they leave closed.
fn line_for(user: &User, hba: &[String]) -> Option<String> {
    let database = user.database.as_ref()?;
    let is_told = hba.iter().any(|line| match fields(line).as_slice() {
        [kind, databases, users, ..] if kind != "local" => {
            may_mean(databases, database) && may_mean(users, &user.name)
        }
        _ => false,
    });
    (!is_told).then(|| format!("host \"{database}\" \"{}\" all scram-sha-256", user.name))
}

/// As PostgreSQL parts a line: by blanks, but not within quotes or after a comma; `#` begins a comment.
fn fields(line: &str) -> Vec<String> {
    let mut fields: Vec<String> = Vec::new();
    let mut field = String::new();
    let mut is_quoted = false;
    for c in line.chars() {
        match c {
            '#' if !is_quoted => break,
            ' ' | '\t' if !is_quoted => {
                if !field.is_empty() && !field.ends_with(',') {
                    fields.push(std::mem::take(&mut field));
                }
                continue;
            }
            '"' => is_quoted = !is_quoted,
            _ => {}
        }
        field.push(c);
    }
    fields.extend((!field.is_empty()).then_some(field));
    fields
}

/// In doubt, yes: groups, files and patterns are not looked into.
fn may_mean(field: &str, name: &str) -> bool {
    field.split(',').map(|item| item.trim_matches(['"', ' '])).any(|item| {
        item == name
            || ["all", "sameuser", "samerole", "samegroup"].contains(&item)
            || item.starts_with(['+', '@', '/'])
    })
}

#[cfg(test)]
mod tests {
    use super::super::settings::Secret;
    use super::*;

    fn of(hba: &[&str], users: &[(&str, Option<&str>)]) -> Vec<String> {
        let mut settings = Settings::new("/srv/pg", "/run/pg", "eu-west-1", Secret::new("s3cret"));
        settings.hba = hba.iter().map(|line| (*line).to_owned()).collect();
        settings.users = users
            .iter()
            .map(|(name, database)| User { name: (*name).into(), database: database.map(Into::into) })
            .collect();
        lines(&settings).split_off(3)
    }

    #[test]
    fn a_user_comes_to_its_own_database_only() {
        let users = [("app", Some("data")), ("reader", None)];
        assert_eq!(of(&[], &users), ["host \"data\" \"app\" all scram-sha-256"]);
    }

    #[test]
    fn the_operators_lines_about_a_user_stand_alone() {
        for line in [
            "host data app 10.0.0.0/8 scram-sha-256",
            "hostssl all all 10.0.0.0/8 cert",
            "host other,data reader,\"app\" all reject",
            "host other, \"data\" +writers all md5",
            "host @databases /^a all md5",
            "\thost\tsameuser app all md5 # its own",
        ] {
            assert_eq!(of(&[line], &[("app", Some("data"))]), [line]);
        }
    }

    #[test]
    fn lines_about_others_take_nothing_away() {
        for line in [
            "host other app all scram-sha-256",
            "host data reader all scram-sha-256",
            "host replication all all scram-sha-256",
            "local all all peer",
            "# host data app all reject",
            "host \"da ta\" app all md5",
        ] {
            let ours = "host \"data\" \"app\" all scram-sha-256";
            assert_eq!(of(&[line], &[("app", Some("data"))]), [line, ours]);
        }
    }
}
