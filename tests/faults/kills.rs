//! Processes that are killed, as power failures and the kernel kill them.

use ejecta_test_support::{Process, containers_of};

use crate::yard::{LEASE_MILLIS, Yard};

const AGENTS: [&str; 2] = ["one", "two"];

/// Two times, so that no job can meet three deaths: then it would be held for their cause. Gives
/// the agents that there are in the end.
fn kill_two_agents(yard: &mut Yard, start: &dyn Fn(&Yard, &str) -> Process) -> Vec<Process> {
    let mut agents: Vec<Process> = AGENTS.iter().map(|name| start(yard, name)).collect();
    yard.begin();
    for _ in 0..2 {
        yard.moment();
        let victim = yard.dice.one_of(&[0, 1]);
        agents.remove(victim).kill();
        std::thread::sleep(yard.dice.millis(0, LEASE_MILLIS * 3 / 2));
        agents.insert(victim, start(yard, AGENTS[victim]));
    }
    yard.check(&AGENTS);
    agents
}

pub fn agents_are_killed(yard: &mut Yard) {
    let _server = yard.fleet.server();
    kill_two_agents(yard, &|yard, name| yard.agent(name));
}

pub fn agents_with_docker_are_killed(yard: &mut Yard) {
    let _server = yard.fleet.server();
    let start = |yard: &Yard, name: &str| {
        let args = ["--jobs", "2", "--sandbox", "docker"];
        yard.fleet.agent(name, &args)
    };
    let agents = kill_two_agents(yard, &start);
    // An agent removes what one that was killed has left, and its own when it stops.
    for (agent, name) in agents.into_iter().zip(AGENTS) {
        let (code, log) = agent.stop();
        assert_eq!(code, Some(0), "{log}");
        let left = containers_of(&yard.fleet.lab.path(name));
        assert_eq!(left, Vec::<String>::new(), "{name}");
    }
}

pub fn the_server_is_killed(yard: &mut Yard) {
    let mut server = yard.fleet.server();
    let _agents = AGENTS.map(|name| yard.agent(name));
    yard.begin();
    for _ in 0..3 {
        yard.moment();
        server.kill();
        std::thread::sleep(yard.dice.millis(0, LEASE_MILLIS * 3 / 2));
        server = yard.fleet.server();
    }
    yard.check(&AGENTS);
}

/// The agents of the one that is killed are of no use to the other: their jobs are.
pub fn one_of_two_servers_is_killed(yard: &mut Yard) {
    let _first = yard.fleet.server();
    let (second, address) = yard.fleet.another_server("second");
    let _one = yard.agent("one");
    let _two = yard.fleet.agent_of(&address, "two", &["--jobs", "2"]);
    yard.begin();
    yard.moment();
    second.kill();
    yard.check(&["one"]);
    // What the other agent has finished is refused, and forgotten, once there is a server again.
    let (_second, _) = yard.fleet.another_server("second");
    yard.check(&AGENTS);
}
