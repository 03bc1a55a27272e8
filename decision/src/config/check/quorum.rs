//! Who can still decide after which loss. Raft needs a majority of all controllers (Ongaro, section
//! 3.3 of the dissertation); a verdict needs a majority of the vantages (S5).

use super::{Finding, list};
use crate::config::place::Place;
use crate::config::{Config, Region};

/// More voters make every commit slower and survive nothing that seven would not.
const CONTROLLERS_MAX: u32 = 7;

pub(super) fn check(config: &Config, found: &mut Vec<Finding>) {
    if config.regions.is_empty() {
        return; // said already
    }
    let at = Place::of(&["regions"]);
    let total: u32 = config.regions.iter().map(|region| u32::from(region.controllers)).sum();
    if total == 0 {
        found.push(Finding::error(
            at,
            "no region has a controller, so nothing can ever be decided",
            "write `controllers: 1` in three regions (a witness counts)",
        ));
        return;
    }
    if config.regions.len() == 1 {
        found.push(Finding::warning(
            at.clone(),
            "there is one region: nothing can fail over",
            "add a second region that hosts the services, and a third place to vote",
        ));
    } else if config.regions.len() == 2 {
        two_regions(config, total, &at, found);
    } else {
        losses(config, total, &at, found);
    }
    if total > CONTROLLERS_MAX {
        found.push(Finding::warning(
            at.clone(),
            format!("{total} controllers: every decision waits for {} of them", majority(total)),
            "3 or 5 controllers survive as many lost regions as matter, and commit sooner",
        ));
    }
    vantages(config, found);
}

fn majority(total: u32) -> u32 {
    total / 2 + 1
}

fn survives_loss_of(region: &Region, total: u32) -> bool {
    total - u32::from(region.controllers) >= majority(total)
}

/// Without a third place a cut between two regions and the loss of one look the same.
fn two_regions(config: &Config, total: u32, at: &Place, found: &mut Vec<Finding>) {
    let survivable: Vec<&Region> =
        config.regions.iter().filter(|region| survives_loss_of(region, total)).collect();
    let fatal: Vec<&Region> =
        config.regions.iter().filter(|region| !survives_loss_of(region, total)).collect();
    let mut message = format!(
        "two regions and no third place to vote: of {total} controller{} {} must agree. ",
        if total == 1 { "" } else { "s" },
        majority(total)
    );
    for region in &survivable {
        message += &format!("Losing {} leaves a majority of controllers. ", region.name);
    }
    message += "Cannot be survived without a person: ";
    message += &match fatal.as_slice() {
        [only] => format!("the loss of {}, or a cut that leaves it on the other side. ", only.name),
        _ => "the loss of either region, or a cut between the two. ".to_owned(),
    };
    message += "Survived: the crash of an agent or a controller that comes back; DNS answers on as before";
    found.push(Finding::warning(
        at.clone(),
        message,
        "add a witness: a region with `witness: true`, which votes and observes and needs no data",
    ));
}

fn losses(config: &Config, total: u32, at: &Place, found: &mut Vec<Finding>) {
    let voting: Vec<&Region> = config.regions.iter().filter(|region| region.controllers > 0).collect();
    if let [only] = voting.as_slice() {
        let here = Place::of(&["regions", &only.label]);
        let message = format!(
            "all controllers stand in {}: when that region is lost, nobody is left to decide on a failover",
            only.name
        );
        let fix = "spread the controllers over three regions (a witness counts)";
        let hosts = !only.services.is_empty();
        found.push(if hosts && config.strategy.automatic_failover {
            Finding::error(here.key("controllers"), message, fix)
        } else {
            Finding::warning(here.key("controllers"), message, fix)
        });
        return;
    }
    let before = found.len();
    for region in &voting {
        if !survives_loss_of(region, total) {
            let left = total - u32::from(region.controllers);
            found.push(Finding::warning(
                Place::of(&["regions", &region.label]).key("controllers"),
                format!(
                    "losing {} leaves {left} of {total} controllers, and {} must agree: nothing would move by itself",
                    region.name,
                    majority(total)
                ),
                "spread the controllers so that no region holds half of them",
            ));
        }
    }
    // Said already, and worse, when one region's loss is enough.
    if total.is_multiple_of(2) && found.len() == before {
        found.push(Finding::warning(
            at.clone(),
            format!(
                "an even number of controllers ({total}) survives the loss of {}, as {} would",
                total - majority(total),
                total - 1
            ),
            format!(
                "take one away, or add one (a witness) to survive the loss of {}",
                total + 1 - majority(total + 1)
            ),
        ));
    }
}

fn vantages(config: &Config, found: &mut Vec<Finding>) {
    let watching: Vec<&Region> = config.regions.iter().filter(|region| region.agents > 0).collect();
    if config.strategy.automatic_failover && watching.len() < 3 && config.regions.len() > 1 {
        found.push(
            Finding::warning(
                Place::of(&["failover_strategy", "automatic_failover"]),
                format!(
                    "automatic failover can never have a majority: agents watch from {} ({}), and it takes three \
                     to outvote one that is itself cut off",
                    if watching.len() == 1 { "one region" } else { "two regions" },
                    list(watching.iter().map(|region| &region.name))
                ),
                "add a witness with an agent, or write `automatic_failover: false` and move by hand",
            )
            .related(Place::of(&["regions"])),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::Severity::{Error, Warning};
    use super::super::example::{at, config, only, remove_region};
    use crate::config::place::Place;

    #[test]
    fn two_regions_without_a_witness_say_what_survives() {
        let mut config = config();
        remove_region(&mut config, "ap");
        let (severity, message) = at(&config, &Place::of(&["regions"]));
        assert_eq!(severity, Warning);
        assert!(message.contains("of 2 controllers 2 must agree"), "{message}");
        assert!(message.contains("the loss of either region, or a cut between the two"), "{message}");
        let (severity, message) = at(&config, &Place::of(&["failover_strategy", "automatic_failover"]));
        assert_eq!(severity, Warning);
        assert!(message.contains("can never have a majority"), "{message}");
    }

    #[test]
    fn two_regions_of_unlike_size() {
        let mut config = config();
        remove_region(&mut config, "ap");
        config.regions[0].controllers = 2;
        let (_, message) = at(&config, &Place::of(&["regions"]));
        assert!(message.contains("Losing eu leaves a majority"), "{message}");
        assert!(message.contains("the loss of us, or a cut that leaves it on the other side"), "{message}");
    }

    #[test]
    fn a_witness_makes_two_regions_whole() {
        let mut config = config();
        config.regions[2].witness = true;
        config.regions[2].services.clear();
        config.regions[2].endpoints.clear();
        config.checks.remove(2);
        config.services.get_mut(&"app".into()).unwrap().dns[0].values.remove(&"ap".into());
        assert_eq!(super::super::check(&config), []);
    }

    #[test]
    fn nobody_to_decide() {
        let mut config = config();
        config.regions.iter_mut().for_each(|region| region.controllers = 0);
        let (severity, place, _) = only(&config);
        assert_eq!((severity, place.as_str()), (Error, "regions"));
    }

    #[test]
    fn all_controllers_in_one_region() {
        let mut config = config();
        config.regions[0].controllers = 3;
        config.regions[1].controllers = 0;
        config.regions[2].controllers = 0;
        assert_eq!(only(&config).0, Error);
        config.strategy.automatic_failover = false;
        let (severity, place, _) = only(&config);
        assert_eq!((severity, place.as_str()), (Warning, "regions.label_us.controllers"));
    }

    #[test]
    fn one_region_holds_half_the_votes() {
        let mut config = config();
        config.regions[0].controllers = 3;
        let (severity, place, message) = only(&config);
        assert_eq!((severity, place.as_str()), (Warning, "regions.label_us.controllers"));
        assert_eq!(
            message,
            "losing us leaves 2 of 5 controllers, and 3 must agree: nothing would move by itself"
        );
    }

    #[test]
    fn an_even_number() {
        let mut config = config();
        config.regions[0].controllers = 2;
        config.regions[1].controllers = 2;
        config.regions[2].controllers = 2;
        let (severity, place, message) = only(&config);
        assert_eq!((severity, place.as_str()), (Warning, "regions"));
        assert_eq!(message, "an even number of controllers (6) survives the loss of 2, as 5 would");
    }

    #[test]
    fn one_region() {
        let mut config = config();
        remove_region(&mut config, "ap");
        remove_region(&mut config, "eu");
        let (severity, message) = at(&config, &Place::of(&["regions"]));
        assert_eq!((severity, message.as_str()), (Warning, "there is one region: nothing can fail over"));
    }

    #[test]
    fn too_many_to_be_quick() {
        let mut config = config();
        config.regions.iter_mut().for_each(|region| region.controllers = 3);
        assert_eq!(only(&config).0, Warning);
    }
}
