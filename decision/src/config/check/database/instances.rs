//! Instances: one in each region that hosts the service, each with a folder and an address of its own.

mod beside;

use std::net::IpAddr;

use crate::config::check::{Finding, dns, is_host_name, list};
use crate::config::place::Place;
use crate::config::{Config, Database, Instance, Region};
use crate::name::{RegionName, ServiceName};

pub(super) use beside::side_by_side;

pub(super) fn check(
    config: &Config,
    service: &ServiceName,
    database: &Database,
    at: &Place,
    found: &mut Vec<Finding>,
) {
    where_hosted(config, service, database, at, found);
    for (region, instance) in &database.instances {
        let here = at.key("instances").key(region);
        folders(region, instance, at, &here, found);
        addresses(region, instance, at, &here, found);
        if let Some(why) = no_user(&instance.os_user) {
            found.push(
                Finding::error(
                    here.key("os_user"),
                    format!("PostgreSQL cannot run as {:?}: {why}", instance.os_user),
                    "write for example postgres",
                )
                .related(at.key("os_user")),
            );
        }
    }
    promotable(config, service, database, at, found);
}

fn where_hosted(
    config: &Config,
    service: &ServiceName,
    database: &Database,
    at: &Place,
    found: &mut Vec<Finding>,
) {
    let hosts: Vec<&Region> = config.hosts(service).collect();
    let at = at.key("instances");
    for name in database.instances.keys() {
        let here = at.key(name);
        match config.region(name).filter(|region| region.witness) {
            Some(region) => found.push(
                Finding::error(
                    here,
                    format!("{name} is a witness, which keeps no data"),
                    "remove the instance, or the region's `witness: true`",
                )
                .of_key()
                .related(Place::of(&["regions", &region.label, "witness"])),
            ),
            None => dns::known(config, service, &hosts, name, &here, found),
        }
    }
    let missing: Vec<&RegionName> = hosts
        .iter()
        .map(|region| &region.name)
        .filter(|region| !database.instances.contains_key(region))
        .collect();
    if !missing.is_empty() {
        found.push(Finding::error(
            at,
            format!("{service} is hosted in {}, and its database has no instance there", list(&missing)),
            format!(
                "add `{}: {{data_dir: /var/lib/postgresql/regent}}`, or remove {service} from the `services` of that \
                 region",
                missing[0]
            ),
        ));
    }
}

fn folders(region: &RegionName, instance: &Instance, at: &Place, here: &Place, found: &mut Vec<Finding>) {
    let data_dir = here.key("data_dir");
    if instance.data_dir.is_empty() {
        found.push(Finding::error(
            data_dir,
            format!("the instance in {region} has no data folder"),
            "add `data_dir: /var/lib/postgresql/regent` here, or once beside `instances`",
        ));
    } else if !is_folder(&instance.data_dir) {
        found.push(
            no_folder(data_dir, &instance.data_dir, "/var/lib/postgresql/regent").related(at.key("data_dir")),
        );
    }
    if let Some(bin_dir) = instance.bin_dir.as_ref().filter(|dir| !is_folder(dir)) {
        let example = "/usr/lib/postgresql/15/bin";
        found.push(no_folder(here.key("bin_dir"), bin_dir, example).related(at.key("bin_dir")));
    }
}

fn no_folder(at: Place, dir: &str, example: &str) -> Finding {
    Finding::error(
        at,
        format!("{dir:?} is not the absolute path of a folder"),
        format!("write for example {example}"),
    )
}

/// PostgreSQL's own limit is 1,024 bytes (`MAXPGPATH`), names of files in the folder included.
const PATH_MAX: usize = 900;

fn is_folder(path: &str) -> bool {
    path.len() <= PATH_MAX
        && path.starts_with('/')
        && !path.trim_matches('/').is_empty()
        && !path.chars().any(char::is_control)
        && !path.split('/').any(|part| part == "." || part == "..")
}

fn addresses(region: &RegionName, instance: &Instance, at: &Place, here: &Place, found: &mut Vec<Finding>) {
    let host = here.key("host");
    if instance.host.is_empty() {
        found.push(
            Finding::error(
                host,
                format!("{region} has no endpoint whose host its instance could have"),
                "add `host: db1.example.net`, or the address at which the other instances reach it",
            )
            .of_key(),
        );
    } else if !is_host(&instance.host) {
        found.push(Finding::error(
            host,
            format!("{:?} is neither a name nor an address", instance.host),
            "write for example db1.example.net, 10.0.0.1 or 2001:db8::1",
        ));
    } else if instance.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified()) {
        found.push(Finding::error(
            host,
            format!(
                "{} stands for every address of a machine: nobody else can reach it there",
                instance.host
            ),
            "write the address at which the other instances reach it; where it listens is `listen`",
        ));
    }
    if instance.port == 0 {
        found.push(
            Finding::error(here.key("port"), "0 is no port", "write for example `port: 5432`")
                .related(at.key("port")),
        );
    }
    let listen = here.key("listen");
    if instance.listen.is_empty() {
        found.push(Finding::error(
            listen.clone(),
            format!("the instance in {region} listens nowhere, so no other can copy from it"),
            "write for example `listen: [10.0.0.1]`, or leave it out",
        ));
    }
    for (n, address) in instance.listen.iter().enumerate() {
        if address != "*" && !is_host(address) {
            found.push(Finding::error(
                listen.index(n),
                format!("{address:?} is nothing to listen on"),
                "write an address such as 10.0.0.1, or \"*\" for all",
            ));
        }
    }
}

/// All digits and dots must be an address.
fn is_host(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
        || (is_host_name(text) && !text.chars().all(|c| c.is_ascii_digit() || c == '.'))
}

fn no_user(name: &str) -> Option<&'static str> {
    const LENGTH_MAX: usize = 32;
    let sound = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    if name == "root" {
        Some("it refuses to have the rights of root")
    } else if name.is_empty()
        || name.len() > LENGTH_MAX
        || !name.bytes().all(sound)
        || name.starts_with(|c: char| c.is_ascii_digit() || c == '-')
    {
        Some("no user of the operating system has such a name")
    } else {
        None
    }
}

/// Is there anywhere to go, and back?
fn promotable(
    config: &Config,
    service: &ServiceName,
    database: &Database,
    at: &Place,
    found: &mut Vec<Finding>,
) {
    let at = at.key("instances");
    if let (1, Some(only)) = (database.instances.len(), database.instances.keys().next()) {
        found.push(Finding::warning(
            at,
            format!("{service} has one instance, in {only}: if it is lost, nothing can be promoted"),
            "host it in a second region and add an instance there, or live with it",
        ));
        return;
    }
    let allowed: Vec<&RegionName> = database
        .instances
        .iter()
        .filter(|(_, instance)| !instance.nofailover)
        .map(|(name, _)| name)
        .collect();
    if config.strategy.automatic_failover && allowed.len() <= 1 && !database.instances.is_empty() {
        let message = match allowed.as_slice() {
            [] => format!("every instance of {service} is nofailover: nothing can be promoted"),
            _ => format!(
                "every instance of {service} but the one in {} is nofailover: if that is lost, nothing can be promoted",
                list(&allowed)
            ),
        };
        let fix = "remove `nofailover` from at least two, or write `automatic_failover: false`";
        found.push(Finding::warning(at, message, fix));
        return;
    }
    let first = config.hosts(service).next().map(|region| &region.name);
    if let Some(first) =
        first.filter(|name| database.instances.get(name).is_some_and(|found| found.nofailover))
    {
        found.push(Finding::warning(
            at.key(first).key("nofailover"),
            format!(
                "{service} starts in {first}, the first region that hosts it, but is never promoted there: once it has \
                 left it cannot come home"
            ),
            "remove `nofailover`, or put another region first",
        ));
    }
}

#[cfg(test)]
mod tests {
    use crate::config::check::Severity::{self, Error, Warning};
    use crate::config::check::example::{at, only, with_database};
    use crate::config::place::Place;
    use crate::config::{Config, Database, Instance};
    use crate::name::RegionName;

    fn database(config: &mut Config) -> &mut Database {
        config.services.get_mut(&"app".into()).unwrap().database.as_mut().unwrap()
    }

    fn instances() -> Place {
        Place::of(&["services", "app", "database", "instances"])
    }

    fn of_eu(change: impl FnOnce(&mut Instance)) -> (Severity, String, String) {
        let mut config = with_database();
        change(database(&mut config).instances.get_mut(&RegionName::from("eu")).unwrap());
        only(&config)
    }

    fn expect(found: (Severity, String, String), severity: Severity, key: &str, message: &str) {
        assert_eq!(found, (severity, format!("{}.eu.{key}", instances()), message.to_owned()));
    }

    #[test]
    fn an_instance_where_the_service_is_not() {
        let mut config = with_database();
        let copy = Instance {
            host: "10.9.9.9".to_owned(),
            listen: vec!["10.9.9.9".to_owned()],
            write_endpoint: None,
            read_endpoint: None,
            ..database(&mut config).instances[&RegionName::from("eu")].clone()
        };
        database(&mut config).instances.insert("sa".into(), copy);
        let (severity, message) = at(&config, &instances().key("sa"));
        assert_eq!((severity, message.as_str()), (Error, "there is no region \"sa\""));
        let copy = database(&mut config).instances.remove(&RegionName::from("sa")).unwrap();
        config.regions.push(crate::config::Region {
            name: "sa".into(),
            label: "label_sa".to_owned(),
            endpoints: vec!["http://127.0.1.9:80".to_owned()],
            services: Vec::new(),
            ..config.regions[0].clone()
        });
        database(&mut config).instances.insert("sa".into(), copy);
        let (severity, message) = at(&config, &instances().key("sa"));
        assert_eq!((severity, message.as_str()), (Error, "sa does not host app, so it is no target for it"));
        config.regions[3].witness = true;
        let (severity, message) = at(&config, &instances().key("sa"));
        assert_eq!((severity, message.as_str()), (Error, "sa is a witness, which keeps no data"));
    }

    #[test]
    fn a_region_without_an_instance() {
        let mut config = with_database();
        database(&mut config).instances.remove(&RegionName::from("eu"));
        let message = "app is hosted in eu, and its database has no instance there";
        assert_eq!(only(&config), (Error, instances().to_string(), message.to_owned()));
    }

    #[test]
    fn folders_that_are_none() {
        let long = format!("/{}", "a".repeat(900));
        for wrong in ["data", "./data", "/", "//", "/a/../b", "/a\nb", "~/data", &long] {
            let message = format!("{wrong:?} is not the absolute path of a folder");
            expect(of_eu(|eu| eu.data_dir = wrong.to_owned()), Error, "data_dir", &message);
            expect(of_eu(|eu| eu.bin_dir = Some(wrong.to_owned())), Error, "bin_dir", &message);
        }
        expect(of_eu(|eu| eu.data_dir.clear()), Error, "data_dir", "the instance in eu has no data folder");
    }

    #[test]
    fn hosts_and_addresses() {
        let message = "eu has no endpoint whose host its instance could have";
        expect(of_eu(|eu| eu.host.clear()), Error, "host", message);
        for wrong in ["300.1.1.1", "a b", "db,host=evil", "[::1]", "10.0.0.1:5432", "-a", "db'"] {
            let message = format!("{wrong:?} is neither a name nor an address");
            expect(of_eu(|eu| eu.host = wrong.to_owned()), Error, "host", &message);
        }
        let message = "0.0.0.0 stands for every address of a machine: nobody else can reach it there";
        expect(of_eu(|eu| eu.host = "0.0.0.0".to_owned()), Error, "host", message);
        expect(of_eu(|eu| eu.port = 0), Error, "port", "0 is no port");
        let message = "the instance in eu listens nowhere, so no other can copy from it";
        expect(of_eu(|eu| eu.listen.clear()), Error, "listen", message);
        for wrong in ["", "10.0.0.1,*", "' port=1"] {
            let message = format!("{wrong:?} is nothing to listen on");
            expect(of_eu(|eu| eu.listen.push(wrong.to_owned())), Error, "listen[1]", &message);
        }
    }

    #[test]
    fn users_that_cannot_run_it() {
        let message = "PostgreSQL cannot run as \"root\": it refuses to have the rights of root";
        expect(of_eu(|eu| eu.os_user = "root".to_owned()), Error, "os_user", message);
        for wrong in ["", "-x", "a b", "0", "postgres;id"] {
            let message = format!(
                "PostgreSQL cannot run as {wrong:?}: no user of the operating system has such a name"
            );
            expect(of_eu(|eu| eu.os_user = wrong.to_owned()), Error, "os_user", &message);
        }
    }

    #[test]
    fn nowhere_to_go() {
        let mut config = with_database();
        for instance in database(&mut config).instances.values_mut() {
            instance.nofailover = true;
        }
        let message = "every instance of app is nofailover: nothing can be promoted";
        assert_eq!(only(&config), (Warning, instances().to_string(), message.to_owned()));
        database(&mut config).instances.get_mut(&RegionName::from("eu")).unwrap().nofailover = false;
        let message =
            "every instance of app but the one in eu is nofailover: if that is lost, nothing can be promoted";
        assert_eq!(only(&config), (Warning, instances().to_string(), message.to_owned()));
    }

    #[test]
    fn one_instance() {
        let mut config = with_database();
        config.regions[1].services.clear();
        config.regions[2].services.clear();
        database(&mut config).instances.retain(|name, _| name.as_str() == "us");
        database(&mut config).replication.password = None;
        let (severity, message) = at(&config, &instances());
        let expected = "app has one instance, in us: if it is lost, nothing can be promoted";
        assert_eq!((severity, message.as_str()), (Warning, expected));
    }

    #[test]
    fn a_first_region_that_it_cannot_come_back_to() {
        let mut config = with_database();
        database(&mut config).instances.get_mut(&RegionName::from("us")).unwrap().nofailover = true;
        let message = "app starts in us, the first region that hosts it, but is never promoted there: once it has left it \
                       cannot come home";
        assert_eq!(only(&config), (Warning, format!("{}.us.nofailover", instances()), message.to_owned()));
        let mut config = with_database();
        database(&mut config).instances.get_mut(&RegionName::from("eu")).unwrap().nofailover = true;
        assert_eq!(crate::config::check::check(&config), []);
    }
}
