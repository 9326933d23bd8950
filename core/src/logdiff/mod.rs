//! The smallest difference of two logs that says why one side failed, and the first error of one.
//!
//! Two runs of cargo never say the same: they compile in another order, take another time, and
//! name other hashes. So a log is taken apart into blocks (a diagnostic, a panic, a line of a test);
//! blocks that both sides have, wherever they stand, are taken out, and so are those that say
//! nothing. Where errors are left, warnings are not shown. Only what remains is compared line by
//! line, by `imara-diff`, and of that no more than `MAX_COMPARED` lines: two logs of a million
//! lines in no common order would hold any algorithm up.
//!
//! This module knows nothing of pages or colours.

mod blocks;

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use imara_diff::{Algorithm, Diff, InternedInput};

use blocks::{Block, Weight};

/// Bytes of a log that are read: half of them from its beginning, half from its end.
const MAX_BYTES: usize = 4 << 20;
/// Lines of a log that are read, likewise.
const MAX_LINES: usize = 100_000;
/// Lines of each side that are compared, those of errors before others.
const MAX_COMPARED: usize = 4_000;
/// Lines of a difference that are shown.
const MAX_SHOWN: usize = 120;
/// Lines of one hunk that are shown.
const MAX_HUNK: usize = 60;
/// The longest line, in characters.
const MAX_CHARS: usize = 500;
/// Lines around a change, of the same block.
const CONTEXT: usize = 3;

/// Where a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineSide {
    /// In both logs.
    Both,
    /// Only with the baseline.
    Baseline,
    /// Only with the candidate.
    Candidate,
}

/// One line of a hunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiffLine {
    /// Where it is; of a line in both, the text is the candidate's.
    pub side: LineSide,
    /// Its number in its log, from 1.
    pub number: usize,
    /// The text, cut at 500 characters.
    pub text: String,
}

/// Lines that differ, with some around them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hunk {
    /// The command that wrote them, as the log says it: `$ cargo check`.
    pub command: Option<String>,
    /// The lines: those of the baseline before those of the candidate at each change.
    pub lines: Vec<DiffLine>,
}

/// The difference of two logs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogDiff {
    /// What differs, in the order of the logs.
    pub hunks: Vec<Hunk>,
    /// Lines that differ and are not shown: beyond the bounds, or of less weight than the errors.
    pub left_out: usize,
    /// Whether a log was too long to be read whole.
    pub cut: bool,
}

/// Compares two logs.
pub fn diff(baseline: &str, candidate: &str) -> LogDiff {
    let (baseline, candidate) = (Log::read(baseline), Log::read(candidate));
    let (mine, theirs) = without_common(&baseline, &candidate);
    let (before, after, lighter) = that_matter(&baseline, mine, &candidate, theirs);
    let (before, beyond_before) = baseline.flat(&before);
    let (after, beyond_after) = candidate.flat(&after);
    let mut input: InternedInput<&str> = InternedInput::default();
    input.update_before(before.iter().map(|l| l.normal.as_str()));
    input.update_after(after.iter().map(|l| l.normal.as_str()));
    let diff = Diff::compute(Algorithm::Histogram, &input);
    let hunks = hunks(&diff, &before, &after);
    let (hunks, beyond) = bounded(hunks);
    LogDiff {
        hunks,
        left_out: lighter + beyond_before + beyond_after + beyond,
        cut: baseline.cut || candidate.cut,
    }
}

/// The lines of the error that says most, from 0, the end excluded: the first error, panic or
/// crash; else the first test that failed; else what cargo says at the end. `None` where nothing
/// looks like an error, or it is in the middle of a log too long to be read whole.
pub fn first_error(log: &str) -> Option<Range<usize>> {
    let log = Log::read(log);
    let first = log
        .blocks
        .iter()
        .filter(|b| b.weight <= Weight::Summary)
        .min_by_key(|b| b.weight)?;
    Some(log.number(first.lines.start)..log.number(first.lines.end - 1) + 1)
}

/// A log, taken apart.
struct Log<'a> {
    lines: Vec<&'a str>,
    blocks: Vec<Block>,
    /// From which line on numbers are higher, and by how much: what was cut is in between.
    gap: (usize, usize),
    cut: bool,
}

impl<'a> Log<'a> {
    fn read(text: &'a str) -> Self {
        let (head, tail, cut_lines) = ends(text);
        let mut lines: Vec<&str> = head.lines().collect();
        let gap = (lines.len(), cut_lines);
        lines.extend(tail.lines());
        Self {
            blocks: blocks::blocks(&lines),
            lines,
            gap,
            cut: !tail.is_empty(),
        }
    }

    /// The number of a line in the whole log, from 0.
    fn number(&self, line: usize) -> usize {
        let (from, cut) = self.gap;
        if line >= from { line + cut } else { line }
    }

    fn normal(&self, block: &Block) -> String {
        let mut text = String::new();
        for line in &self.lines[block.lines.clone()] {
            if !blocks::is_noise(line) {
                text.push_str(&blocks::normal(line));
                text.push('\n');
            }
        }
        text
    }

    fn len(&self, block: &Block) -> usize {
        let lines = self.lines[block.lines.clone()].iter();
        lines.filter(|l| !blocks::is_noise(l)).count()
    }

    /// The lines of blocks, as many as are compared, and how many are not.
    fn flat(&self, blocks: &[&Block]) -> (Vec<FlatLine<'a>>, usize) {
        let mut order: Vec<usize> = (0..blocks.len()).collect();
        order.sort_by_key(|n| (blocks[*n].weight, *n));
        let mut room = MAX_COMPARED;
        let mut taken = vec![0; blocks.len()];
        let mut left_out = 0;
        for n in order {
            let len = self.len(blocks[n]);
            taken[n] = len.min(room);
            room -= taken[n];
            left_out += len - taken[n];
        }
        let mut flat = Vec::new();
        for ((n, block), taken) in blocks.iter().enumerate().zip(taken) {
            let lines = block
                .lines
                .clone()
                .filter(|l| !blocks::is_noise(self.lines[*l]));
            for line in lines.take(taken) {
                let text = self.lines[line];
                flat.push(FlatLine {
                    text,
                    normal: blocks::normal(text),
                    number: self.number(line) + 1,
                    block: n,
                    weight: block.weight,
                    command: block.command.map(|c| self.lines[c]),
                });
            }
        }
        (flat, left_out)
    }
}

/// Beginning and end of a long text, at ends of lines, and how many lines are between them.
fn ends(text: &str) -> (&str, &str, usize) {
    let total = text.bytes().filter(|b| *b == b'\n').count() + 1;
    if text.len() <= MAX_BYTES && total <= MAX_LINES {
        return (text, "", 0);
    }
    let breaks = || {
        text.bytes()
            .enumerate()
            .filter(|(_, b)| *b == b'\n')
            .map(|(at, _)| at + 1)
    };
    let half = MAX_BYTES / 2;
    let head = breaks()
        .take(MAX_LINES / 2)
        .take_while(|at| *at <= half)
        .last()
        .unwrap_or(0);
    let from_line = total.saturating_sub(MAX_LINES / 2);
    let tail = breaks()
        .enumerate()
        .find(|(n, at)| n + 1 >= from_line && *at >= text.len().saturating_sub(half) && *at >= head)
        .map_or(text.len(), |(_, at)| at);
    let between = text[head..tail].bytes().filter(|b| *b == b'\n').count();
    if head == 0 && tail == text.len() {
        // One endless line.
        let end = (0..=half.min(text.len()))
            .rev()
            .find(|at| text.is_char_boundary(*at));
        return (&text[..end.unwrap_or(0)], "\n", 0);
    }
    let tail = &text[tail..];
    (
        &text[..head],
        if tail.is_empty() { "\n" } else { tail },
        between,
    )
}

struct FlatLine<'a> {
    text: &'a str,
    normal: String,
    number: usize,
    block: usize,
    weight: Weight,
    command: Option<&'a str>,
}

/// The blocks of each side that the other has not, as often as it has not.
fn without_common<'l>(a: &'l Log<'_>, b: &'l Log<'_>) -> (Vec<&'l Block>, Vec<&'l Block>) {
    let normal = |log: &Log<'_>| -> Vec<String> {
        log.blocks.iter().map(|block| log.normal(block)).collect()
    };
    let (in_a, in_b) = (normal(a), normal(b));
    let mut counts: HashMap<&str, (usize, usize)> = HashMap::new();
    for text in &in_a {
        counts.entry(text).or_default().0 += 1;
    }
    for text in &in_b {
        counts.entry(text).or_default().1 += 1;
    }
    let rest = |log: &'l Log<'_>, texts: &[String]| -> Vec<&'l Block> {
        let both = counts.iter().map(|(text, (a, b))| (*text, *a.min(b)));
        let mut common: HashMap<&str, usize> = both.collect();
        let mut is_left = |text: &str| {
            let left = common.get_mut(text).filter(|n| **n > 0);
            left.map(|n| *n -= 1).is_none()
        };
        let blocks = log.blocks.iter().zip(texts);
        blocks
            .filter(|(_, t)| is_left(t))
            .map(|(block, _)| block)
            .collect()
    };
    (rest(a, &in_a), rest(b, &in_b))
}

/// The blocks that tell of the failure, and how many lines of others are left out.
fn that_matter<'l>(
    baseline: &Log<'_>,
    mine: Vec<&'l Block>,
    candidate: &Log<'_>,
    theirs: Vec<&'l Block>,
) -> (Vec<&'l Block>, Vec<&'l Block>, usize) {
    let worst = mine.iter().chain(&theirs).map(|b| b.weight).min();
    let errors = worst.is_some_and(|w| w <= Weight::Failure);
    let names = |log: &Log<'_>, blocks: &[&Block]| -> BTreeSet<String> {
        let first = |b: &&Block| log.lines[b.lines.start];
        let name = |b| blocks::test_name(first(b)).map(str::to_owned);
        blocks.iter().filter_map(name).collect()
    };
    let (ran_before, ran_after) = (names(baseline, &mine), names(candidate, &theirs));
    let mut left_out = 0;
    let mut keep = |log: &Log<'_>, blocks: Vec<&'l Block>, other: &BTreeSet<String>, old: bool| {
        let mut kept = Vec::new();
        for block in blocks {
            let line = log.lines[block.lines.start];
            let matters = match block.weight {
                Weight::Error | Weight::Failure => true,
                Weight::Summary | Weight::Warning => !errors,
                // A test that ran on one side only, well: the other side says why it did not run.
                Weight::Other => match blocks::test_name(line) {
                    Some(name) => !errors || other.contains(name),
                    None => !errors || !old,
                },
            };
            if matters {
                kept.push(block);
            } else {
                left_out += log.len(block);
            }
        }
        kept
    };
    let before = keep(baseline, mine, &ran_after, true);
    let after = keep(candidate, theirs, &ran_before, false);
    (before, after, left_out)
}

/// A hunk with the weight of its worst line.
type Weighed = (Weight, Hunk);

/// What differs, block by block: a change of one block stays together, and where whole blocks were
/// added or taken away each is a hunk of its own.
fn hunks(diff: &Diff, before: &[FlatLine<'_>], after: &[FlatLine<'_>]) -> Vec<Weighed> {
    let mut hunks: Vec<Weighed> = Vec::new();
    // The candidate's line after the last hunk, so that context is shown once.
    let mut shown = 0;
    for hunk in diff.hunks() {
        let range = |r: Range<u32>| r.start as usize..r.end as usize;
        let (old, new) = (range(hunk.before), range(hunk.after));
        let (olds, news) = (by_block(before, old), by_block(after, new.clone()));
        let one = olds.len() <= 1 && news.len() <= 1;
        let around = if one {
            around(after, &new, shown)
        } else {
            new.clone()
        };
        shown = around.end;
        if one {
            let old = olds.into_iter().next().unwrap_or(0..0);
            let context = (around.start..new.start, new.end..around.end);
            hunks.push(hunk_of(before, old, after, new, context));
            continue;
        }
        // A test that went from one result to another is one change.
        let mut tests: HashMap<&str, Range<usize>> = HashMap::new();
        for new in &news {
            if let Some(name) = blocks::test_name(after[new.start].text) {
                tests.insert(name, new.clone());
            }
        }
        let mut was: HashMap<usize, Range<usize>> = HashMap::new();
        for old in olds {
            let name = blocks::test_name(before[old.start].text);
            match name.and_then(|name| tests.remove(name)) {
                Some(new) => {
                    was.insert(new.start, old);
                }
                None => hunks.push(hunk_of(before, old, after, 0..0, (0..0, 0..0))),
            }
        }
        for new in news {
            let old = was.remove(&new.start).unwrap_or(0..0);
            hunks.push(hunk_of(before, old, after, new, (0..0, 0..0)));
        }
    }
    hunks
}

/// The parts of a range that are of one block each.
fn by_block(lines: &[FlatLine<'_>], range: Range<usize>) -> Vec<Range<usize>> {
    let mut parts: Vec<Range<usize>> = Vec::new();
    for n in range {
        match parts
            .last_mut()
            .filter(|p| lines[p.start].block == lines[n].block)
        {
            Some(part) => part.end = n + 1,
            None => parts.push(n..n + 1),
        }
    }
    parts
}

/// A range with some lines around it, of the blocks in which it begins and ends; none before
/// `from`.
fn around(lines: &[FlatLine<'_>], range: &Range<usize>, from: usize) -> Range<usize> {
    let block = |n: usize| lines.get(n).map(|l| l.block);
    // An empty range, where lines were taken away, is of the block before it and of the one after.
    let first = if range.is_empty() {
        range.start.checked_sub(1)
    } else {
        Some(range.start)
    };
    let first = first.and_then(block);
    let last = if range.is_empty() {
        block(range.end)
    } else {
        block(range.end - 1)
    };
    let before = (from.max(range.start.saturating_sub(CONTEXT))..range.start)
        .find(|n| block(*n) == first)
        .unwrap_or(range.start);
    let after = (range.end..lines.len().min(range.end + CONTEXT))
        .take_while(|n| block(*n) == last)
        .last()
        .map_or(range.end, |n| n + 1);
    before..after
}

fn hunk_of(
    before: &[FlatLine<'_>],
    old: Range<usize>,
    after: &[FlatLine<'_>],
    new: Range<usize>,
    (above, below): (Range<usize>, Range<usize>),
) -> Weighed {
    let line = |side, l: &FlatLine<'_>| DiffLine {
        side,
        number: l.number,
        text: l.text.chars().take(MAX_CHARS).collect(),
    };
    let (old, new) = (&before[old], &after[new]);
    let mut lines: Vec<DiffLine> = Vec::new();
    lines.extend(after[above].iter().map(|l| line(LineSide::Both, l)));
    lines.extend(old.iter().map(|l| line(LineSide::Baseline, l)));
    lines.extend(new.iter().map(|l| line(LineSide::Candidate, l)));
    lines.extend(after[below].iter().map(|l| line(LineSide::Both, l)));
    let changed = || old.iter().chain(new);
    let command = changed().next_back().and_then(|l| l.command);
    let hunk = Hunk {
        command: command.map(|c| c.chars().take(MAX_CHARS).collect()),
        lines,
    };
    let weight = changed().map(|l| l.weight).min().unwrap_or(Weight::Other);
    (weight, hunk)
}

/// The hunks that fit, errors before others, and how many lines do not.
fn bounded(mut hunks: Vec<Weighed>) -> (Vec<Hunk>, usize) {
    let mut left_out = 0;
    for (_, hunk) in &mut hunks {
        left_out += hunk.lines.len().saturating_sub(MAX_HUNK);
        hunk.lines.truncate(MAX_HUNK);
    }
    let mut order: Vec<usize> = (0..hunks.len()).collect();
    order.sort_by_key(|n| (hunks[*n].0, *n));
    let mut room = MAX_SHOWN;
    let mut taken: BTreeSet<usize> = BTreeSet::new();
    for n in order {
        let len = hunks[n].1.lines.len();
        if len <= room {
            room -= len;
            taken.insert(n);
        } else {
            left_out += len;
        }
    }
    let kept = hunks
        .into_iter()
        .enumerate()
        .filter(|(n, _)| taken.contains(n));
    (kept.map(|(_, (_, hunk))| hunk).collect(), left_out)
}

#[cfg(test)]
mod tests;
