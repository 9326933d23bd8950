//! Whose name is it? Takes the names of a crate's own items out of what stands between backticks,
//! and leaves those of the language and of the standard library.

use super::signature::Names;

/// Names of the standard library that rustc prints without their path, sorted.
const STD: &[&str] = &[
    "Add",
    "AddAssign",
    "Allocator",
    "Any",
    "Arc",
    "Arguments",
    "AsMut",
    "AsRef",
    "AsyncFn",
    "AsyncFnMut",
    "AsyncFnOnce",
    "BTreeMap",
    "BTreeSet",
    "BinaryHeap",
    "BitAnd",
    "BitOr",
    "BitXor",
    "Borrow",
    "BorrowMut",
    "Box",
    "BufRead",
    "BufReader",
    "BufWriter",
    "CStr",
    "CString",
    "Cell",
    "Clone",
    "Context",
    "Copy",
    "Cow",
    "Debug",
    "Default",
    "Deref",
    "DerefMut",
    "Display",
    "Div",
    "DoubleEndedIterator",
    "Drop",
    "Duration",
    "Eq",
    "Err",
    "Error",
    "ExactSizeIterator",
    "Extend",
    "File",
    "Fn",
    "FnMut",
    "FnOnce",
    "FnPtr",
    "Formatter",
    "From",
    "FromIterator",
    "FromStr",
    "Future",
    "Hash",
    "HashMap",
    "HashSet",
    "Hasher",
    "Index",
    "IndexMut",
    "Instant",
    "Into",
    "IntoFuture",
    "IntoIterator",
    "Iterator",
    "Layout",
    "LazyLock",
    "LinkedList",
    "ManuallyDrop",
    "MaybeUninit",
    "Mul",
    "Mutex",
    "MutexGuard",
    "Neg",
    "NonNull",
    "NonZero",
    "None",
    "Not",
    "Ok",
    "OnceCell",
    "OnceLock",
    "Option",
    "Ord",
    "Ordering",
    "OsStr",
    "OsString",
    "PartialEq",
    "PartialOrd",
    "Path",
    "PathBuf",
    "PhantomData",
    "Pin",
    "Poll",
    "Range",
    "Rc",
    "Read",
    "Ref",
    "RefCell",
    "RefMut",
    "Rem",
    "Result",
    "RwLock",
    "Seek",
    "Self",
    "Send",
    "Sized",
    "Some",
    "String",
    "Sub",
    "Sync",
    "ToOwned",
    "ToString",
    "TryFrom",
    "TryInto",
    "Unpin",
    "Vec",
    "VecDeque",
    "Weak",
];

/// Words of the language and its primitive types, sorted.
const LANGUAGE: &[&str] = &[
    "_", "as", "async", "await", "bool", "box", "break", "char", "const", "continue", "crate",
    "dyn", "else", "enum", "extern", "f128", "f16", "f32", "f64", "false", "fn", "for", "gen",
    "i128", "i16", "i32", "i64", "i8", "if", "impl", "in", "isize", "left", "let", "loop", "main",
    "match", "mod", "move", "mut", "never", "pub", "ref", "return", "right", "self", "static",
    "str", "struct", "super", "trait", "true", "type", "u128", "u16", "u32", "u64", "u8", "union",
    "unsafe", "use", "usize", "where",
];

/// The crates of the standard library.
const STD_CRATES: [&str; 5] = ["alloc", "core", "proc_macro", "std", "test"];

/// Placeholders of a signature, which stand for names.
const PLACEHOLDERS: [&str; 4] = ["<crate>", "<n>", "<path>", "<hash>"];

/// A signature without a crate's own names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blanked {
    /// The text.
    pub text: String,
    /// How many names are left between its backticks: each tells one cause from another.
    pub kept: usize,
    /// Whether there are such names, or no backticks at all.
    pub is_specific: bool,
}

/// Takes the names out of `text` that `names` does not keep.
pub(super) fn blank(text: &str, names: Names) -> Blanked {
    let mut out = String::with_capacity(text.len());
    let (mut quotes, mut kept) = (0_usize, 0_usize);
    for (n, part) in text.split('`').enumerate() {
        if n > 0 {
            out.push('`');
        }
        if n % 2 == 0 {
            out.push_str(part);
        } else {
            quotes += 1;
            kept += blank_quoted(&mut out, part, names);
        }
    }
    Blanked {
        text: out,
        kept,
        is_specific: quotes == 0 || kept > 0,
    }
}

/// Writes a quoted part, and counts the names that say something.
fn blank_quoted(out: &mut String, mut rest: &str, names: Names) -> usize {
    let mut kept = 0;
    while let Some(c) = rest.chars().next() {
        let path = path_at(rest);
        if path.is_empty() {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        }
        rest = &rest[path.len()..];
        match judge(path, names) {
            Judged::Language => out.push_str(path),
            Judged::Kept => {
                kept += 1;
                out.push_str(path);
            }
            Judged::Blank(tail) => {
                out.push('_');
                out.push_str(tail);
                if tail.is_empty() {
                    rest = after_parameters(rest);
                } else {
                    kept += 1;
                }
            }
        }
    }
    kept
}

enum Judged<'a> {
    /// Says nothing by itself: a keyword, a placeholder.
    Language,
    /// Tells causes apart.
    Kept,
    /// `_`, and this after it.
    Blank(&'a str),
}

fn judge(path: &str, names: Names) -> Judged<'_> {
    let first = path.split("::").next().unwrap_or(path);
    if STD_CRATES.contains(&first) && first.len() < path.len() {
        return Judged::Kept;
    }
    if first == "_" || path.starts_with(|c: char| c.is_ascii_digit()) {
        return Judged::Language;
    }
    if STD.binary_search(&first).is_ok() {
        return Judged::Kept;
    }
    if is_primitive(path) {
        return Judged::Kept;
    }
    if LANGUAGE.binary_search(&path).is_ok() {
        return Judged::Language;
    }
    if PLACEHOLDERS.contains(&path) && path != "<crate>" {
        return Judged::Language;
    }
    if names == Names::Own {
        return Judged::Blank("");
    }
    // The last part that is a type's name, and what comes after it: `Foo::new`.
    let mut at = 0;
    let mut end = None;
    for part in path.split("::") {
        if part.starts_with(char::is_uppercase) {
            end = Some(at + part.len());
        }
        at += part.len() + 2;
    }
    match end {
        Some(end) => Judged::Blank(&path[end..]),
        None if path == "<crate>" => Judged::Language,
        None => Judged::Kept,
    }
}

fn is_primitive(word: &str) -> bool {
    let sized = |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_digit());
    matches!(word, "str" | "bool" | "char" | "isize" | "usize")
        || word.strip_prefix(['u', 'i', 'f']).is_some_and(sized)
}

/// The path with which `text` starts: names joined by `::`, `<crate>` among them.
fn path_at(text: &str) -> &str {
    let mut end = 0;
    loop {
        let rest = &text[end..];
        let placeholder = PLACEHOLDERS.iter().find(|p| rest.starts_with(**p));
        let name = match placeholder {
            Some(placeholder) => placeholder.len(),
            None => rest
                .find(|c: char| !(c.is_alphanumeric() || c == '_'))
                .unwrap_or(rest.len()),
        };
        let name = match name {
            // `core::str::<impl str>::trim`
            0 if end > 0 && rest.starts_with('<') => {
                let after = after_parameters(rest);
                if after.starts_with("::") {
                    rest.len() - after.len()
                } else {
                    0
                }
            }
            name => name,
        };
        if name == 0 {
            return text[..end].strip_suffix("::").unwrap_or(&text[..end]);
        }
        end += name;
        if !text[end..].starts_with("::") {
            return &text[..end];
        }
        end += 2;
    }
}

/// What is after the type parameters with which `text` starts: `<A, B<C>>`.
fn after_parameters(text: &str) -> &str {
    if !text.starts_with('<') {
        return text;
    }
    let mut depth = 0_usize;
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        match c {
            '<' => depth += 1,
            '>' if before != '-' => {
                depth -= 1;
                if depth == 0 {
                    return &text[at + 1..];
                }
            }
            _ => {}
        }
        before = c;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted_as_their_search_needs() {
        assert!(STD.is_sorted(), "{STD:?}");
        assert!(LANGUAGE.is_sorted(), "{LANGUAGE:?}");
    }

    #[test]
    fn names_of_the_standard_library_stay() {
        let table = [
            (
                "no method named `frob` found for struct `Foo<T, Bar<U>>`",
                "no method named `frob` found for struct `_`",
                true,
            ),
            (
                "`std::mem::uninitialized` and `Foo::new`",
                "`std::mem::uninitialized` and `_::new`",
                true,
            ),
            (
                "expected `u32`, found `&mut a::Foo`",
                "expected `u32`, found `&mut _`",
                true,
            ),
            (
                "expected `Foo`, found `Bar`",
                "expected `_`, found `_`",
                false,
            ),
            ("`Box<dyn Fn(Foo) -> Bar>`", "`Box<dyn Fn(_) -> _>`", true),
            (
                "the trait bound `<crate>::Foo: From<A>`",
                "the trait bound `_: From<_>`",
                true,
            ),
            ("`Foo<fn() -> T>` ends", "`_` ends", false),
            ("`Foo<unclosed", "`_<unclosed", true),
            ("nothing quoted", "nothing quoted", true),
            ("``", "``", false),
        ];
        for (text, blanked, is_specific) in table {
            let got = blank(text, Names::OwnTypes);
            assert_eq!(
                (got.text.as_str(), got.is_specific),
                (blanked, is_specific),
                "{text}"
            );
        }
        let method = "`core::str::<impl str>::trim_left` of `core::<unclosed`";
        let own = blank(method, Names::Own);
        assert_eq!(own.text, "`core::str::<impl str>::trim_left` of `_::<_`");
        let own = blank(
            "`x` of `core::cell::Cell<u8>` in `a::b` for `<crate>`",
            Names::Own,
        );
        assert_eq!(own.text, "`_` of `core::cell::Cell<u8>` in `_` for `_`");
    }
}
