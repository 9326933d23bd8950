//! What every memory of the bot promises: one suite, over the model in memory and both stores.

use std::collections::BTreeSet;
use std::sync::Arc;

use ejecta_server::bot::mailbox::{
    Due, Effect, EffectKey, Entry, Inbox, Outbox, Received, Waiting, When,
};
use ejecta_server::bot::model::{DeliveryId, Incoming, Thread, User};
use ejecta_server::store::{PostgresStore, SqliteStore, Store};
use ejecta_test_support::Postgres;
use jiff::Timestamp;
use secrecy::SecretString;

use crate::memory::Memory;

/// The memory as one coordinator has it.
#[derive(Clone)]
pub struct Post {
    inbox: Arc<dyn Inbox>,
    outbox: Arc<dyn Outbox>,
    store: Option<Arc<dyn Store>>,
}

impl Post {
    fn of<T: Inbox + Outbox + Store + 'static>(store: T) -> Self {
        let store = Arc::new(store);
        Self {
            inbox: store.clone(),
            outbox: store.clone(),
            store: Some(store),
        }
    }

    fn model() -> Self {
        let memory = Arc::new(Memory::default());
        Self {
            inbox: memory.clone(),
            outbox: memory,
            store: None,
        }
    }
}

/// Two coordinators with one memory, and what has to be kept while they use it.
type Opened = Option<([Post; 2], Option<tempfile::TempDir>)>;

async fn memory() -> Opened {
    let post = Post::model();
    Some(([post.clone(), post], None))
}

async fn sqlite() -> Opened {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("ejecta.db");
    let one = SqliteStore::open(&path).await.expect("opens");
    let two = SqliteStore::open(&path).await.expect("opens");
    Some(([Post::of(one), Post::of(two)], Some(dir)))
}

async fn postgres() -> Opened {
    let made = tokio::task::spawn_blocking(Postgres::database_or_skip).await;
    let url = SecretString::from(made.expect("no panic")?);
    let one = PostgresStore::open(&url, 4).await.expect("opens");
    let two = PostgresStore::open(&url, 4).await.expect("opens");
    Some(([Post::of(one), Post::of(two)], None))
}

macro_rules! suite {
    ($($case:ident)*) => {
        suite!(@ memory $($case)*);
        suite!(@ sqlite $($case)*);
        suite!(@ postgres $($case)*);
    };
    (@ $open:ident $($case:ident)*) => {
        mod $open {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    if let Some((posts, _dir)) = super::$open().await {
                        super::$case(posts).await;
                    }
                }
            )*
        }
    };
}

suite! {
    a_comment_is_kept_once
    comments_are_handled_in_their_order
    a_comment_that_is_handled_is_with_one
    a_comment_of_somebody_who_died_comes_back
    a_comment_that_is_held_stays
    a_late_handler_gives_nothing_back
    a_comment_that_was_put_off_lets_others_pass
    an_entry_takes_the_place_of_the_last_one
    an_entry_counts_when_it_says_so
    an_entry_of_an_earlier_time_unsays_nothing
    an_entry_that_says_the_same_changes_nothing
    a_version_that_comes_meanwhile_is_due
    a_thread_is_told_in_order
    threads_do_not_wait_for_each_other
    an_entry_is_with_one_courier
    an_entry_of_somebody_who_died_comes_back_with_its_attempts
    a_late_courier_ends_nothing_and_its_comment_is_known
    an_entry_that_was_put_off_holds_its_thread_up
    what_is_given_up_is_over_until_it_changes
    the_next_due_is_that_of_the_first_entries
    couriers_at_once_share_the_work
    old_words_are_forgotten_and_comments_stay_known
    it_does_what_the_model_does
}

/// A moment, in seconds after some beginning.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("in range")
}

fn thread(number: u64) -> Thread {
    Thread {
        repo: "rust-lang/rust".parse().expect("a repository"),
        number,
    }
}

fn comment(id: u64) -> Incoming {
    Incoming {
        thread: thread(1),
        pull_request: true,
        comment: id,
        author: User {
            id: 1,
            login: "alice".to_owned(),
        },
        body: format!("@ejecta ping {id} äöü"),
    }
}

async fn receive(post: &Post, delivery: &str, id: u64) -> Received {
    let delivery = DeliveryId(delivery.to_owned());
    let received = post.inbox.receive(&delivery, &comment(id), at(0)).await;
    received.expect("ok")
}

/// Takes the next comment until a time.
async fn take(post: &Post, now: i64, until: i64) -> Option<Waiting> {
    post.inbox.take(at(now), at(until)).await.expect("ok")
}

fn entry(key: &str, number: u64, body: &str) -> Entry {
    Entry {
        key: EffectKey(key.to_owned()),
        thread: thread(number),
        effect: Effect::Comment {
            body: body.to_owned(),
        },
        when: When::Always,
        as_of: at(0),
    }
}

async fn put(post: &Post, entries: &[Entry]) {
    post.outbox.put(entries, at(1)).await.expect("ok");
}

/// Takes the next entry until a time.
async fn due(post: &Post, now: i64, until: i64) -> Option<Due> {
    post.outbox.take(at(now), at(until)).await.expect("ok")
}

fn body(due: &Due) -> &str {
    match &due.entry.effect {
        Effect::Comment { body } => body,
        Effect::Label { .. } => "a label",
    }
}

async fn begin(post: &Post, due: &Due) -> bool {
    post.outbox.begin(due).await.expect("ok")
}

async fn done(post: &Post, due: &Due, comment: Option<u64>) {
    post.outbox.done(due, comment, at(2)).await.expect("ok");
}

/// Carries everything out that is due, and tells it.
async fn say_all(post: &Post, now: i64) -> Vec<String> {
    let mut said = Vec::new();
    while let Some(next) = due(post, now, now + 30).await {
        assert!(begin(post, &next).await);
        said.push(body(&next).to_owned());
        done(post, &next, Some(7)).await;
    }
    said
}

async fn a_comment_is_kept_once([one, two]: [Post; 2]) {
    assert_eq!(receive(&one, "d1", 1).await, Received::New);
    assert_eq!(receive(&two, "d1", 1).await, Received::Repeated);
    assert_eq!(receive(&two, "d2", 1).await, Received::Repeated);
    // A delivery's id stands for one delivery, whatever is in it.
    assert_eq!(receive(&two, "d1", 2).await, Received::Repeated);
    let taken = take(&two, 0, 9).await.expect("it waits");
    assert_eq!((taken.incoming.clone(), taken.attempts), (comment(1), 1));
    two.inbox.handled(&taken, at(1)).await.expect("ok");
    assert_eq!(receive(&one, "d3", 1).await, Received::Repeated);
    assert_eq!(take(&one, 999, 9999).await, None);
    assert_eq!(one.inbox.next_due().await.expect("ok"), None);
}

async fn comments_are_handled_in_their_order([one, two]: [Post; 2]) {
    for id in [5, 3, 9] {
        receive(&one, &format!("d{id}"), id).await;
    }
    for id in [5, 3, 9] {
        let taken = take(&two, 0, 9).await.expect("one waits");
        assert_eq!(taken.incoming.comment, id);
        two.inbox.handled(&taken, at(0)).await.expect("ok");
    }
}

async fn a_comment_that_is_handled_is_with_one([one, two]: [Post; 2]) {
    receive(&one, "d1", 1).await;
    assert!(take(&one, 0, 30).await.is_some());
    assert_eq!(take(&two, 29, 60).await, None);
    assert_eq!(two.inbox.next_due().await.expect("ok"), Some(at(30)));
}

async fn a_comment_of_somebody_who_died_comes_back([one, two]: [Post; 2]) {
    receive(&one, "d1", 1).await;
    take(&one, 0, 30).await.expect("it waits");
    let again = take(&two, 30, 60).await.expect("it is free");
    assert_eq!(again.attempts, 2);
}

async fn a_comment_that_is_held_stays([one, two]: [Post; 2]) {
    receive(&one, "d1", 1).await;
    let taken = take(&one, 0, 30).await.expect("it waits");
    assert!(one.inbox.hold(&taken, at(90)).await.expect("ok"));
    assert_eq!(take(&two, 60, 90).await, None);
    take(&two, 90, 120).await.expect("it is free");
    assert!(!one.inbox.hold(&taken, at(999)).await.expect("ok"));
}

async fn a_late_handler_gives_nothing_back([one, two]: [Post; 2]) {
    receive(&one, "d1", 1).await;
    let late = take(&one, 0, 30).await.expect("it waits");
    let taken = take(&two, 30, 60).await.expect("it is free");
    one.inbox.put_off(&late, at(31)).await.expect("ok");
    assert_eq!(take(&one, 40, 70).await, None, "the second one has it");
    // All that follows from it was kept: then it is handled, whoever says so.
    one.inbox.handled(&late, at(41)).await.expect("ok");
    assert!(!two.inbox.hold(&taken, at(99)).await.expect("ok"));
    assert_eq!(take(&two, 999, 9999).await, None);
}

async fn a_comment_that_was_put_off_lets_others_pass([one, two]: [Post; 2]) {
    receive(&one, "d1", 1).await;
    receive(&one, "d2", 2).await;
    let first = take(&one, 0, 30).await.expect("it waits");
    one.inbox.put_off(&first, at(50)).await.expect("ok");
    let second = take(&one, 0, 30).await.expect("it waits");
    assert_eq!(second.incoming.comment, 2);
    one.inbox.handled(&second, at(1)).await.expect("ok");
    assert_eq!(take(&two, 49, 99).await, None);
    assert_eq!(one.inbox.next_due().await.expect("ok"), Some(at(50)));
    let again = take(&two, 50, 99).await.expect("it is due");
    assert_eq!((again.incoming.comment, again.attempts), (1, 2));
}

async fn an_entry_takes_the_place_of_the_last_one([one, two]: [Post; 2]) {
    put(&one, &[entry("a", 1, "first"), entry("b", 1, "other")]).await;
    put(&two, &[entry("a", 1, "second")]).await;
    let next = due(&one, 1, 30).await.expect("due");
    assert_eq!((body(&next), next.version, next.attempts), ("second", 1, 0));
    assert_eq!((next.comment, next.since), (None, at(1)));
    begin(&one, &next).await;
    done(&one, &next, Some(42)).await;
    assert_eq!(say_all(&two, 1).await, ["other"]);
    // What is said again is an edit, behind all that waits.
    put(&two, &[entry("c", 1, "later"), entry("a", 1, "third")]).await;
    let next = due(&two, 1, 30).await.expect("due");
    assert_eq!(body(&next), "later");
    done(&two, &next, Some(43)).await;
    let next = due(&two, 1, 30).await.expect("due");
    assert_eq!((body(&next), next.comment), ("third", Some(42)));
    assert_eq!((next.attempts, next.version), (1, 2));
}

async fn an_entry_counts_when_it_says_so([one, _]: [Post; 2]) {
    let new = |body| Entry {
        when: When::IfNew,
        ..entry("a", 1, body)
    };
    let known = |key, body| Entry {
        when: When::IfKnown,
        ..entry(key, 1, body)
    };
    put(&one, &[known("a", "an edit of nothing"), new("new")]).await;
    put(&one, &[new("not new")]).await;
    assert_eq!(say_all(&one, 1).await, ["new"]);
    put(&one, &[new("not new either")]).await;
    assert_eq!(say_all(&one, 1).await, [""; 0]);
    put(&one, &[known("a", "an edit"), known("b", "of nothing")]).await;
    assert_eq!(say_all(&one, 1).await, ["an edit"]);
}

async fn an_entry_of_an_earlier_time_unsays_nothing([one, two]: [Post; 2]) {
    let told = |body, seconds| Entry {
        as_of: at(seconds),
        ..entry("a", 1, body)
    };
    put(&one, &[told("running", 10)]).await;
    put(&one, &[told("completed", 20)]).await;
    put(&two, &[told("running still", 10)]).await;
    assert_eq!(say_all(&one, 1).await, ["completed"]);
    put(&two, &[told("running still", 19)]).await;
    assert_eq!(say_all(&one, 1).await, [""; 0]);
    // The same words may stand for a later time.
    put(&two, &[told("completed", 30)]).await;
    put(&one, &[told("late", 29)]).await;
    assert_eq!(say_all(&one, 1).await, [""; 0]);
    put(&one, &[told("again", 30)]).await;
    assert_eq!(say_all(&one, 1).await, ["again"]);
}

async fn an_entry_that_says_the_same_changes_nothing([one, two]: [Post; 2]) {
    put(&one, &[entry("a", 1, "x")]).await;
    assert_eq!(say_all(&one, 1).await, ["x"]);
    put(&two, &[entry("a", 1, "x")]).await;
    assert_eq!(say_all(&two, 1).await, [""; 0]);
}

async fn a_version_that_comes_meanwhile_is_due([one, two]: [Post; 2]) {
    put(&one, &[entry("a", 1, "old")]).await;
    let taken = due(&one, 1, 30).await.expect("due");
    begin(&one, &taken).await;
    put(&two, &[entry("a", 1, "new")]).await;
    assert_eq!(due(&two, 1, 30).await, None, "it is with the first one");
    done(&one, &taken, Some(42)).await;
    let next = due(&two, 1, 30).await.expect("due");
    assert_eq!((body(&next), next.comment), ("new", Some(42)));
}

async fn a_thread_is_told_in_order([one, two]: [Post; 2]) {
    put(&one, &[entry("b", 1, "1"), entry("a", 1, "2")]).await;
    put(&two, &[entry("c", 1, "3")]).await;
    let first = due(&one, 1, 30).await.expect("due");
    assert_eq!(body(&first), "1");
    assert_eq!(due(&two, 1, 30).await, None, "its thread is with another");
    done(&one, &first, None).await;
    assert_eq!(say_all(&two, 1).await, ["2", "3"]);
}

async fn threads_do_not_wait_for_each_other([one, two]: [Post; 2]) {
    put(&one, &[entry("a", 1, "1"), entry("b", 2, "2")]).await;
    let first = due(&one, 1, 30).await.expect("due");
    let second = due(&two, 1, 30).await.expect("due");
    assert_eq!((body(&first), body(&second)), ("1", "2"));
}

async fn an_entry_is_with_one_courier([one, two]: [Post; 2]) {
    put(&one, &[entry("a", 1, "x")]).await;
    let taken = due(&one, 1, 30).await.expect("due");
    assert_eq!(due(&two, 29, 60).await, None);
    assert!(one.outbox.hold(&taken, at(90)).await.expect("ok"));
    assert_eq!(due(&two, 60, 90).await, None);
    assert_eq!(two.outbox.next_due().await.expect("ok"), Some(at(90)));
}

async fn an_entry_of_somebody_who_died_comes_back_with_its_attempts([one, two]: [Post; 2]) {
    put(&one, &[entry("a", 1, "x")]).await;
    let taken = due(&one, 1, 30).await.expect("due");
    assert!(begin(&one, &taken).await);
    let again = due(&two, 30, 60).await.expect("it is free");
    // A comment may be there: it has to be looked for.
    assert_eq!((again.attempts, again.comment), (1, None));
    assert!(!begin(&one, &taken).await, "nothing begins with two");
    assert!(!one.outbox.hold(&taken, at(99)).await.expect("ok"));
    assert!(begin(&two, &again).await);
}

async fn a_late_courier_ends_nothing_and_its_comment_is_known([one, two]: [Post; 2]) {
    put(&one, &[entry("a", 1, "x")]).await;
    let late = due(&one, 1, 30).await.expect("due");
    begin(&one, &late).await;
    let taken = due(&two, 30, 60).await.expect("it is free");
    one.outbox.put_off(&late, at(31), "late").await.expect("ok");
    one.outbox.give_up(&late, "late", at(31)).await.expect("ok");
    done(&one, &late, Some(42)).await;
    assert_eq!(due(&one, 59, 99).await, None, "the second one has it");
    two.outbox.put_off(&taken, at(70), "x").await.expect("ok");
    let again = due(&one, 70, 99).await.expect("due");
    assert_eq!(again.comment, Some(42));
}

async fn an_entry_that_was_put_off_holds_its_thread_up([one, two]: [Post; 2]) {
    put(&one, &[entry("a", 1, "1"), entry("b", 1, "2")]).await;
    let taken = due(&one, 1, 30).await.expect("due");
    begin(&one, &taken).await;
    one.outbox.put_off(&taken, at(50), "502").await.expect("ok");
    assert_eq!(due(&two, 49, 80).await, None);
    // A newer version waits as well.
    put(&one, &[entry("a", 1, "1, newer")]).await;
    assert_eq!(due(&two, 49, 80).await, None);
    assert_eq!(say_all(&two, 50).await, ["1, newer", "2"]);
}

async fn what_is_given_up_is_over_until_it_changes([one, two]: [Post; 2]) {
    put(&one, &[entry("a", 1, "1"), entry("b", 1, "2")]).await;
    let taken = due(&one, 1, 30).await.expect("due");
    begin(&one, &taken).await;
    let why = "the thread is locked";
    one.outbox.give_up(&taken, why, at(2)).await.expect("ok");
    assert_eq!(say_all(&two, 3).await, ["2"]);
    put(&one, &[entry("a", 1, "1")]).await;
    assert_eq!(say_all(&two, 3).await, [""; 0]);
    put(&one, &[entry("a", 1, "another")]).await;
    let taken = due(&one, 3, 30).await.expect("due");
    put(&two, &[entry("a", 1, "a third")]).await;
    one.outbox.give_up(&taken, why, at(4)).await.expect("ok");
    assert_eq!(say_all(&two, 4).await, ["a third"]);
}

async fn the_next_due_is_that_of_the_first_entries([one, _]: [Post; 2]) {
    assert_eq!(one.outbox.next_due().await.expect("ok"), None);
    put(&one, &[entry("a", 1, "1"), entry("b", 1, "2")]).await;
    put(&one, &[entry("c", 2, "3")]).await;
    let mut soonest = Vec::new();
    for until in [60, 50] {
        let taken = due(&one, 1, 30).await.expect("due");
        one.outbox
            .put_off(&taken, at(until), "x")
            .await
            .expect("ok");
        soonest.push(one.outbox.next_due().await.expect("ok"));
    }
    // The second thread was due at once; the first one's second entry never counts.
    assert!(soonest[0] <= Some(at(1)), "{soonest:?}");
    assert_eq!(soonest[1], Some(at(50)));
}

async fn couriers_at_once_share_the_work(posts: [Post; 2]) {
    let entries: Vec<Entry> = (0..60)
        .map(|n| entry(&format!("k{n:02}"), n % 6, &format!("{n:02}")))
        .collect();
    put(&posts[0], &entries).await;
    let couriers: Vec<_> = (0..4)
        .map(|n| {
            let post = posts[n % 2].clone();
            tokio::spawn(async move {
                let mut said = Vec::new();
                let mut idle = 0;
                while idle < 200 {
                    let Some(next) = due(&post, 1, 999).await else {
                        // Each thread is with somebody just now, or all is said.
                        idle += 1;
                        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                        continue;
                    };
                    assert!(begin(&post, &next).await);
                    assert_eq!(next.attempts, 0, "nobody had begun it");
                    said.push(body(&next).to_owned());
                    done(&post, &next, None).await;
                }
                said
            })
        })
        .collect();
    let mut said = Vec::new();
    for courier in couriers {
        said.extend(courier.await.expect("no panic"));
    }
    assert_eq!(said.len(), 60, "each is said once");
    assert_eq!(said.iter().collect::<BTreeSet<_>>().len(), 60);
}

async fn old_words_are_forgotten_and_comments_stay_known([one, _]: [Post; 2]) {
    let Some(store) = &one.store else { return };
    receive(&one, "d1", 1).await;
    receive(&one, "d2", 2).await;
    let taken = take(&one, 0, 30).await.expect("it waits");
    one.inbox.handled(&taken, at(2)).await.expect("ok");
    put(&one, &[entry("a", 1, "said"), entry("b", 1, "waits")]).await;
    let said = due(&one, 1, 30).await.expect("due");
    done(&one, &said, Some(7)).await;
    let figures = store.metrics().await.expect("ok");
    assert_eq!(figures.messages, 1);
    // Two deliveries, one text, one entry.
    assert_eq!(store.prune(at(5)).await.expect("ok"), 4);
    assert_eq!(store.prune(at(5)).await.expect("ok"), 0);
    assert_eq!(receive(&one, "d1", 1).await, Received::Repeated);
    let waits = take(&one, 9, 30).await.expect("the other one waits");
    assert_eq!(waits.incoming, comment(2));
    assert_eq!(say_all(&one, 9).await, ["waits"]);
}

/// A small generator of numbers: what it makes is the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Does something with both of them, and expects the same answer.
macro_rules! both {
    ($posts:expr, |$post:ident| $call:expr) => {{
        let [a, b] = $posts;
        let ($post, other) = (a, b);
        let first = $call.await.expect("ok");
        let $post = other;
        let second = $call.await.expect("ok");
        assert_eq!(first, second);
        second
    }};
}

async fn it_does_what_the_model_does([one, two]: [Post; 2]) {
    let model = Post::model();
    let mut dice = Dice(7);
    let mut now = 0;
    let (mut comments, mut entries) = (Vec::new(), Vec::new());
    for step in 0..400 {
        let ours = if dice.roll(2) == 0 { &one } else { &two };
        let posts = [&model, ours];
        now += i64::try_from(dice.roll(8)).expect("small");
        let later = at(now + 1 + i64::try_from(dice.roll(40)).expect("small"));
        let now = at(now);
        match dice.roll(14) {
            0 => {
                let delivery = DeliveryId(format!("d{}", dice.roll(60)));
                let incoming = comment(dice.roll(60));
                both!(posts, |p| p.inbox.receive(&delivery, &incoming, now));
            }
            1 | 2 => comments.extend(both!(posts, |p| p.inbox.take(now, later))),
            3 if !comments.is_empty() => {
                let which = usize::try_from(dice.roll(comments.len() as u64)).expect("small");
                let taken: &Waiting = &comments[which];
                match dice.roll(3) {
                    0 => {
                        both!(posts, |p| p.inbox.hold(taken, later));
                    }
                    1 => both!(posts, |p| p.inbox.put_off(taken, later)),
                    _ => both!(posts, |p| p.inbox.handled(taken, now)),
                }
            }
            4..=6 => {
                let when = [When::Always, When::IfNew, When::IfKnown];
                let new: Vec<Entry> = (0..=dice.roll(2))
                    .map(|_| Entry {
                        when: when[usize::try_from(dice.roll(3)).expect("small")],
                        as_of: at(i64::try_from(dice.roll(3)).expect("small")),
                        ..entry(
                            &format!("k{}", dice.roll(12)),
                            dice.roll(3),
                            &format!("{}", dice.roll(4)),
                        )
                    })
                    .collect();
                both!(posts, |p| p.outbox.put(&new, now));
            }
            7..=9 => entries.extend(both!(posts, |p| p.outbox.take(now, later))),
            10 | 11 if !entries.is_empty() => {
                let recent = dice.roll(3.min(entries.len() as u64));
                let which = entries.len() - 1 - usize::try_from(recent).expect("small");
                let taken: &Due = &entries[which];
                match dice.roll(5) {
                    0 => {
                        both!(posts, |p| p.outbox.begin(taken));
                    }
                    1 => {
                        both!(posts, |p| p.outbox.hold(taken, later));
                    }
                    2 => both!(posts, |p| p.outbox.put_off(taken, later, "x")),
                    3 => both!(posts, |p| p.outbox.give_up(taken, "x", now)),
                    _ => {
                        let comment = (dice.roll(2) == 0).then_some(step);
                        both!(posts, |p| p.outbox.done(taken, comment, now));
                    }
                }
            }
            _ => {
                both!(posts, |p| p.inbox.next_due());
                both!(posts, |p| p.outbox.next_due());
            }
        }
    }
    assert!(!comments.is_empty() && entries.len() > 20, "it was no test");
}
