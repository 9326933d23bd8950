//! A disk of an agent that is full, and is not any more.

use ejecta_test_support::SmallDisk;

use crate::yard::Yard;

pub fn the_disk_of_an_agent_is_full(yard: &mut Yard) {
    let _server = yard.fleet.server();
    // Its jobs and its spool are there.
    let disk = SmallDisk::mount(&yard.fleet.lab.path("one"), 600);
    let one = yard.agent("one");
    let two = yard.agent("two");
    yard.begin();
    yard.moment();
    disk.fill_but(0);
    std::thread::sleep(yard.dice.millis(500, 6000));
    disk.empty();
    yard.check(&["one", "two"]);
    for agent in [one, two] {
        let (code, log) = agent.stop();
        assert_eq!(code, Some(0), "{log}");
    }
}
