//! Instances of all databases against each other: no two at one address, on one port of one machine, or
//! in one folder.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::config::check::{Finding, service_place};
use crate::config::place::Place;
use crate::config::{Config, Instance};
use crate::name::{RegionName, ServiceName};

/// Whatever takes connections: an instance, or the relay of an agent.
struct Listener<'a> {
    at: Place,
    what: String,
    region: &'a RegionName,
    /// `host:port` as others reach it.
    address: String,
    port: u16,
    /// Where it listens; several spellings of one address are not seen through.
    on: Vec<String>,
}

pub(in crate::config::check::database) fn side_by_side(config: &Config, found: &mut Vec<Finding>) {
    let listeners = listeners(config);
    let said = one_address(&listeners, found);
    one_port(config, &listeners, &said, found);
    one_folder(config, found);
}

fn instances(config: &Config) -> impl Iterator<Item = (Place, &ServiceName, &RegionName, &Instance)> {
    config.services.iter().flat_map(|(service, settings)| {
        settings.database.iter().flat_map(|database| &database.instances).map(move |(region, instance)| {
            let at = service_place(service).key("database").key("instances").key(region);
            (at, service, region, instance)
        })
    })
}

fn listeners(config: &Config) -> Vec<Listener<'_>> {
    let mut all = Vec::new();
    for (at, service, region, instance) in instances(config) {
        all.push(Listener {
            what: format!("the instance of {service} in {region}"),
            region,
            address: plain(&instance.address()),
            port: instance.port,
            on: instance.listen.iter().map(|on| on.to_ascii_lowercase()).collect(),
            at: at.clone(),
        });
        for (key, endpoint) in
            [("write_endpoint", &instance.write_endpoint), ("read_endpoint", &instance.read_endpoint)]
        {
            let Some((host, port)) = endpoint.as_ref().and_then(|endpoint| endpoint.rsplit_once(':')) else {
                continue;
            };
            all.push(Listener {
                at: at.key(key),
                what: format!("the {key} of {service} in {region}"),
                region,
                address: plain(endpoint.as_deref().unwrap_or_default()),
                port: port.parse().unwrap_or_default(),
                on: vec![host.trim_matches(['[', ']']).to_ascii_lowercase()],
            });
        }
    }
    // With no host of its own there is nothing to compare; that is said elsewhere.
    all.retain(|listener| !listener.address.starts_with(':'));
    all
}

/// One spelling of an address.
fn plain(address: &str) -> String {
    address.parse::<SocketAddr>().map_or_else(|_| address.to_ascii_lowercase(), |address| address.to_string())
}

fn one_address<'a>(listeners: &'a [Listener<'_>], found: &mut Vec<Finding>) -> BTreeSet<&'a Place> {
    let mut first: BTreeMap<&str, &Listener<'_>> = BTreeMap::new();
    let mut said = BTreeSet::new();
    for listener in listeners {
        let Some(other) = first.get(listener.address.as_str()) else {
            first.insert(&listener.address, listener);
            continue;
        };
        said.insert(&listener.at);
        found.push(
            Finding::error(
                listener.at.clone(),
                format!("{} has the address {} of {}", listener.what, listener.address, other.what),
                "give each a host or a port of its own",
            )
            .related(other.at.clone()),
        );
    }
    said
}

/// A region with one agent has one machine for its instances and relays.
fn one_port(config: &Config, listeners: &[Listener<'_>], said: &BTreeSet<&Place>, found: &mut Vec<Finding>) {
    let mut ports: BTreeMap<(&RegionName, u16), Vec<&Listener<'_>>> = BTreeMap::new();
    for listener in listeners {
        let one_machine = config.region(listener.region).is_some_and(|region| region.agents <= 1);
        if one_machine && !said.contains(&listener.at) {
            ports.entry((listener.region, listener.port)).or_default().push(listener);
        }
    }
    for ((region, port), here) in ports {
        let all = here.iter().position(|listener| listener.on.iter().any(|on| is_all(on)));
        let mut first: BTreeMap<&str, &Listener<'_>> = BTreeMap::new();
        for (n, listener) in here.iter().enumerate() {
            let other = match all {
                Some(all) => (all != n).then(|| here[all]),
                None => listener.on.iter().find_map(|on| first.get(on.as_str()).copied()),
            };
            for on in &listener.on {
                first.entry(on).or_insert(listener);
            }
            let Some(other) = other else { continue };
            found.push(
                Finding::error(
                    listener.at.clone(),
                    format!(
                        "{} would listen on port {port} in {region}, and so does {}",
                        listener.what, other.what
                    ),
                    "give each a port of its own, or let each listen on an address of its own",
                )
                .related(other.at.clone()),
            );
        }
    }
}

fn is_all(on: &str) -> bool {
    ["*", "0.0.0.0", "::"].contains(&on)
}

/// Also not one within another: a copy would be copied, and a wiped folder would take the other along.
fn one_folder(config: &Config, found: &mut Vec<Finding>) {
    let mut folders: BTreeMap<(String, &str), (Place, String)> = BTreeMap::new();
    for (at, service, region, instance) in instances(config) {
        let folder = instance.data_dir.trim_end_matches('/');
        if !super::is_folder(folder) {
            continue; // said already
        }
        let what = format!("the instance of {service} in {region}");
        for machine in machines(config, region, instance) {
            if let Some((other, other_what)) = folders.get(&(machine.clone(), folder)) {
                found.push(shared(&at, &what, folder, other, other_what));
                break;
            }
            folders.insert((machine, folder), (at.clone(), what.clone()));
        }
    }
    let mut said = BTreeSet::new();
    for ((machine, folder), (at, what)) in &folders {
        let within = folder.match_indices('/').filter(|(n, _)| *n > 0);
        let other = within.map(|(n, _)| (machine.clone(), &folder[..n])).find_map(|key| folders.get(&key));
        if let Some((other, other_what)) = other.filter(|_| said.insert(at)) {
            found.push(shared(at, what, folder, other, other_what));
        }
    }
}

fn shared(at: &Place, what: &str, folder: &str, other: &Place, other_what: &str) -> Finding {
    Finding::error(
        at.key("data_dir"),
        format!(
            "{what} would keep its data in {folder} on the same machine, where {other_what} keeps its own"
        ),
        "give each instance a folder of its own, none within another",
    )
    .related(other.key("data_dir"))
}

/// By which an instance's machine is known: its host, and its region where one agent has them all.
fn machines(config: &Config, region: &RegionName, instance: &Instance) -> Vec<String> {
    let mut machines = Vec::new();
    if !instance.host.is_empty() {
        machines.push(format!("host {}", instance.host.to_ascii_lowercase()));
    }
    if config.region(region).is_some_and(|region| region.agents <= 1) {
        machines.push(format!("region {region}"));
    }
    machines
}

#[cfg(test)]
mod tests {
    use crate::config::check::Severity::Error;
    use crate::config::check::check;
    use crate::config::check::example::{only, with_database};
    use crate::config::{Config, Instance, Service};
    use crate::name::RegionName;

    fn instance<'a>(config: &'a mut Config, service: &str, region: &str) -> &'a mut Instance {
        let database = config.services.get_mut(&service.into()).unwrap().database.as_mut().unwrap();
        database.instances.get_mut(&RegionName::from(region)).unwrap()
    }

    /// A second service whose database lies beside the first.
    fn two() -> Config {
        let mut config = with_database();
        let copy = Service { dns: Vec::new(), ..config.services[&"app".into()].clone() };
        config.services.insert("shop".into(), copy);
        for region in &mut config.regions {
            region.services.push("shop".into());
        }
        for region in ["us", "eu", "ap"] {
            let shop = instance(&mut config, "shop", region);
            shop.port = 5433;
            shop.data_dir = "/var/lib/postgresql/shop".to_owned();
            shop.write_endpoint = None;
            shop.read_endpoint = None;
        }
        assert_eq!(check(&config), []);
        config
    }

    fn expect(config: &Config, place: &str, message: &str) {
        assert_eq!(only(config), (Error, format!("services.{place}"), message.to_owned()));
    }

    #[test]
    fn one_address_for_two() {
        let mut config = two();
        instance(&mut config, "shop", "eu").port = 5432;
        expect(
            &config,
            "shop.database.instances.eu",
            "the instance of shop in eu has the address 10.0.1.1:5432 of the instance of app in eu",
        );
        let mut config = with_database();
        instance(&mut config, "app", "us").write_endpoint = Some("10.0.1.1:5432".to_owned());
        expect(
            &config,
            "app.database.instances.us.write_endpoint",
            "the write_endpoint of app in us has the address 10.0.1.1:5432 of the instance of app in eu",
        );
        let mut config = with_database();
        instance(&mut config, "app", "us").read_endpoint = Some("10.0.0.1:6432".to_owned());
        expect(
            &config,
            "app.database.instances.us.read_endpoint",
            "the read_endpoint of app in us has the address 10.0.0.1:6432 of the write_endpoint of app in us",
        );
        let mut config = with_database();
        instance(&mut config, "app", "us").host = "2001:db8::1".to_owned();
        instance(&mut config, "app", "eu").write_endpoint = Some("[2001:DB8:0::1]:5432".to_owned());
        assert_eq!(check(&config).len(), 1, "one address in two spellings");
    }

    #[test]
    fn one_port_for_two() {
        let mut config = with_database();
        instance(&mut config, "app", "us").listen = vec!["*".to_owned()];
        instance(&mut config, "app", "us").write_endpoint = Some("127.0.0.1:5432".to_owned());
        expect(
            &config,
            "app.database.instances.us.write_endpoint",
            "the write_endpoint of app in us would listen on port 5432 in us, and so does the instance of app in us",
        );
        config.regions[0].agents = 2;
        config.regions[1].agents = 2;
        assert_eq!(check(&config), [], "which of the two machines it is, is not known");
        let mut config = two();
        let shop = instance(&mut config, "shop", "us");
        (shop.host, shop.port) = ("10.0.0.2".to_owned(), 5432);
        expect(
            &config,
            "shop.database.instances.us",
            "the instance of shop in us would listen on port 5432 in us, and so does the instance of app in us",
        );
        instance(&mut config, "shop", "us").listen = vec!["10.0.0.2".to_owned()];
        assert_eq!(check(&config), []);
    }

    #[test]
    fn one_folder_for_two() {
        for folder in
            ["/var/lib/postgresql/regent", "/var/lib/postgresql/regent/", "/var/lib/postgresql/regent/b"]
        {
            let mut config = two();
            instance(&mut config, "shop", "us").data_dir = folder.to_owned();
            let message = format!(
                "the instance of shop in us would keep its data in {} on the same machine, where the instance of app in us \
                 keeps its own",
                folder.trim_end_matches('/')
            );
            expect(&config, "shop.database.instances.us.data_dir", &message);
        }
        let mut config = with_database();
        let eu = instance(&mut config, "app", "eu");
        (eu.host, eu.port, eu.listen) = ("10.0.0.1".to_owned(), 5433, vec!["10.0.0.1".to_owned()]);
        expect(
            &config,
            "app.database.instances.us.data_dir",
            "the instance of app in us would keep its data in /var/lib/postgresql/regent on the same machine, where the \
             instance of app in eu keeps its own",
        );
    }
}
