//! The search over all crates: what it finds, in what order, and that its address says it all.

use ejecta_core::compare::Verdict;
use ejecta_test_support::{Browser, Look, Page};

use crate::stage::{all_crates, both_ways, complains_of_nothing, index_is_there};
use crate::synthetic;

fn names(page: &Page) -> Vec<String> {
    let links = page.texts("#rows th a").into_iter();
    links
        .map(|text| text.split(' ').next().unwrap_or("").to_owned())
        .collect()
}

/// `1,234 of 7,000`, or `so far`: the first number.
fn found(page: &Page) -> u64 {
    let text = page.text("#count");
    let digits: String = text
        .chars()
        .take_while(|c| c.is_ascii_digit() || *c == ',')
        .filter(char::is_ascii_digit)
        .collect();
    digits.parse().expect("a number of crates")
}

fn choose(page: &Page, id: &str, value: &str) {
    page.eval(&format!(
        "(() => {{ const e = document.getElementById({id:?}); e.value = {value:?}; \
         e.dispatchEvent(new Event('input', {{bubbles: true}})); }})()"
    ));
}

fn canonical(name: &str) -> String {
    name.to_lowercase().replace('-', "_")
}

#[test]
fn it_finds_while_one_types_and_leads_to_the_crate() {
    both_ways(|browser, base| {
        for n in [4_321, 7] {
            let wanted = synthetic::entry(n).plan.krate;
            let wanted_name = wanted.name.to_string();
            let page = all_crates(browser, base, "");
            let all = found(&page);
            page.click("#q");
            // Case and the two separators are the same to registries.
            let typed = wanted_name.to_uppercase().replace('-', "_");
            let mut before = all;
            for (at, letter) in typed.to_lowercase().char_indices() {
                page.press(&letter.to_string());
                let now = found(&page);
                assert!(now <= before, "{now} of {before} at {at}");
                before = now;
                let part = &typed.to_lowercase()[..=at];
                for name in names(&page) {
                    assert!(canonical(&name).contains(part), "{name} {part}");
                }
            }
            assert_eq!(names(&page)[0], wanted_name);
            let row = page.text("#rows tr th");
            assert_eq!(row, format!("{wanted_name} {}", wanted.version));
            page.click("#rows tr th a");
            let title = format!("{wanted_name} {}", wanted.version);
            page.wait(&format!(
                "document.querySelector('h1')?.innerText === {title:?}"
            ));
            complains_of_nothing(&page);
        }
    });
}

#[test]
fn a_version_and_nothing_at_all_can_be_searched_for() {
    both_ways(|browser, base| {
        let wanted = synthetic::entry(77).plan.krate;
        let page = all_crates(browser, base, "");
        page.click("#q");
        page.write(wanted.name.as_str());
        choose(&page, "q", &format!("{}@{}", wanted.name, wanted.version));
        assert_eq!(names(&page), [wanted.name.to_string()]);
        choose(&page, "q", "no-such-crate-anywhere");
        assert_eq!((found(&page), names(&page).len()), (0, 0));
        assert_eq!(page.eval("document.getElementById('found').hidden"), true);
        page.click("#clear");
        assert_eq!(names(&page).len(), 100);
        complains_of_nothing(&page);
    });
}

#[test]
fn filters_stand_in_the_address_which_shows_others_the_same() {
    both_ways(|browser, base| {
        let page = all_crates(browser, base, "");
        for verdict in [Verdict::Regressed, Verdict::Flaky, Verdict::BuildFail] {
            let name = verdict.name();
            page.click(&format!("#v-{name}"));
            let said = page.eval(&format!(
                "document.querySelector('label[for=v-{name}] .small').textContent"
            ));
            let said: u64 = said
                .as_str()
                .expect("a text")
                .replace(',', "")
                .parse()
                .expect("a number");
            assert_eq!(found(&page), said, "{name}");
            let shown = page.texts("#rows td:nth-child(2)");
            assert!(
                !shown.is_empty() && shown.iter().all(|v| v.trim() == name),
                "{shown:?}"
            );
            page.click(&format!("#v-{name}"));
        }
        page.click("#v-build-fail");
        page.click("#v-regressed");
        choose(&page, "reason", "compiler-error");
        choose(&page, "sort", "time");
        page.click("#q");
        page.write("a");
        let address = page.eval("location.href");
        let address = address.as_str().expect("an address");
        assert!(
            address
                .ends_with("#q=a&verdict=regressed%2Cbuild-fail&reason=compiler-error&sort=time"),
            "{address}"
        );
        let other = browser.page(Look::default());
        other.go(address);
        index_is_there(&other);
        assert_eq!(other.text("#count"), page.text("#count"));
        assert_eq!(other.texts("#rows tr"), page.texts("#rows tr"));
        assert!(!other.texts("#rows tr").is_empty());
        let controls = "JSON.stringify([...document.querySelectorAll('#search input, #search select')]\
             .map((e) => [e.id, e.value, e.checked]))";
        assert_eq!(other.eval(controls), page.eval(controls));
        // The address changes below an open page, too.
        other.eval("location.hash = '#verdict=flaky'");
        other.wait("document.querySelectorAll('#search input:checked').length === 1");
        other.wait("[...document.querySelectorAll('#rows td:nth-child(2)')].every((e) => e.textContent.trim() === 'flaky')");
        complains_of_nothing(&page);
        complains_of_nothing(&other);
    });
}

#[test]
fn an_address_that_says_nonsense_shows_what_it_can() {
    both_ways(|browser, base| {
        for hash in [
            "#page=999999999",
            "#verdict=none,&reason=nope&sort=nope&page=-3",
            "#q=%FF%00&page=x",
            "#&&&=",
        ] {
            let page = all_crates(browser, base, hash);
            assert_eq!(page.eval("document.getElementById('reason').value"), "");
            complains_of_nothing(&page);
        }
    });
}

/// `1 h 2 min`, `3 min 4 s` or `5.6 s`, in tenths of a second.
fn tenths(text: &str) -> u64 {
    let words: Vec<&str> = text.split(' ').collect();
    let pairs = words.chunks(2).map(|pair| match pair {
        [n, "h"] => 36_000 * n.parse::<u64>().expect("hours"),
        [n, "min"] => 600 * n.parse::<u64>().expect("minutes"),
        [n, "s"] => match n.split_once('.') {
            Some((s, t)) => {
                10 * s.parse::<u64>().expect("seconds") + t.parse::<u64>().expect("tenths")
            }
            None => 10 * n.parse::<u64>().expect("seconds"),
        },
        _ => panic!("no time: {text}"),
    });
    pairs.sum()
}

#[test]
fn the_order_is_what_was_chosen() {
    both_ways(|browser, base| {
        let page = all_crates(browser, base, "");
        let place = |shown: &String| Verdict::ALL.iter().position(|v| v.name() == shown.trim());
        let verdicts = page.texts("#rows td:nth-child(2)");
        let places: Vec<Option<usize>> = verdicts.iter().map(place).collect();
        assert!(places.is_sorted() && places[0] == Some(0), "{verdicts:?}");
        choose(&page, "sort", "name");
        let shown: Vec<String> = names(&page).iter().map(|n| canonical(n)).collect();
        assert!(shown.is_sorted(), "{shown:?}");
        choose(&page, "sort", "time");
        let times: Vec<u64> = page
            .texts("#rows td:nth-child(4)")
            .iter()
            .map(|t| tenths(t.trim()))
            .collect();
        assert!(times.windows(2).all(|pair| pair[0] >= pair[1]), "{times:?}");
        assert!(times.len() == 100 && times[0] > times[99], "{times:?}");
    });
}

/// Of a large index the first part comes long before the last.
#[test]
fn an_address_keeps_its_page_while_the_index_is_loading() {
    both_ways(|browser, base| {
        let page = browser.page(Look::default());
        // The rows are drawn once before any part of the index is there.
        page.before_scripts(
            "addEventListener('DOMContentLoaded', () => dispatchEvent(new Event('hashchange')))",
        );
        page.go(&format!("{base}crates.html#page=3"));
        index_is_there(&page);
        assert!(page.text("#page").starts_with("page 3 of "));
        assert_eq!(page.eval("location.hash"), "#page=3");
        complains_of_nothing(&page);
    });
}

#[test]
fn pages_are_turned() {
    both_ways(turns_pages);
}

fn turns_pages(browser: &Browser, base: &str) {
    let page = all_crates(browser, base, "#sort=name");
    let disabled = |id: &str| page.eval(&format!("document.getElementById({id:?}).disabled"));
    assert_eq!(
        (disabled("prev"), disabled("next")),
        (true.into(), false.into())
    );
    let first = names(&page);
    page.click("#next");
    let second = names(&page);
    assert_eq!(second.len(), 100);
    assert!(canonical(&first[99]) <= canonical(&second[0]));
    assert_eq!(page.eval("location.hash"), "#sort=name&page=2");
    page.press("]");
    assert_eq!(page.eval("location.hash"), "#sort=name&page=3");
    page.press("[");
    assert_eq!(names(&page), second);
    let other = all_crates(browser, base, "#sort=name&page=2");
    assert_eq!(names(&other), second);
    let last = all_crates(browser, base, "#sort=name&page=100000");
    let rest = found(&last) % 100;
    assert_eq!(
        names(&last).len() as u64,
        if rest == 0 { 100 } else { rest }
    );
    assert_eq!(last.eval("document.getElementById('next').disabled"), true);
}
