//! A step's output on its way to a [`LineSink`]: bytes to lines, with bounds.
//!
//! This module knows nothing of where the bytes come from.

use super::{LineSink, Stream};

/// The longest line that is handed on in one piece, in bytes.
pub const MAX_LINE_BYTES: usize = 1024 * 1024;

/// Splits both streams of a step into lines and counts everything that passes.
pub(crate) struct LineSplitter {
    pending: [Vec<u8>; 2],
    bytes: u64,
    lines: u64,
    max_bytes: u64,
    max_lines: u64,
}

impl LineSplitter {
    /// A splitter that calls the output too much above `max_bytes` or `max_lines`.
    pub(crate) fn new(max_bytes: u64, max_lines: u64) -> Self {
        Self {
            pending: [Vec::new(), Vec::new()],
            bytes: 0,
            lines: 0,
            max_bytes,
            max_lines,
        }
    }

    /// Takes the next bytes of one stream and hands finished lines on; `false` once the output
    /// is too much: nothing beyond the bound was handed on.
    pub(crate) fn push(&mut self, stream: Stream, data: &[u8], sink: &mut dyn LineSink) -> bool {
        let room = self.max_bytes.saturating_sub(self.bytes);
        self.bytes += data.len() as u64;
        let kept = usize::try_from(room).map_or(data, |room| &data[..room.min(data.len())]);
        for piece in kept.split_inclusive(|byte| *byte == b'\n') {
            if self.lines >= self.max_lines {
                return false;
            }
            self.push_piece(stream, piece, sink);
        }
        !self.is_over()
    }

    /// Hands on what is left of lines without an end.
    pub(crate) fn finish(&mut self, sink: &mut dyn LineSink) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            if !self.pending[stream as usize].is_empty() {
                self.emit(stream, sink);
            }
        }
    }

    /// All bytes seen, handed on or not.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Lines handed on.
    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }

    fn is_over(&self) -> bool {
        self.bytes > self.max_bytes || self.lines > self.max_lines
    }

    /// `piece` is part of one line, with its line feed if that is the end of the line.
    fn push_piece(&mut self, stream: Stream, piece: &[u8], sink: &mut dyn LineSink) {
        let (mut rest, ended) = match piece.strip_suffix(b"\n") {
            Some(line) => (line, true),
            None => (piece, false),
        };
        loop {
            let pending = &mut self.pending[stream as usize];
            let room = MAX_LINE_BYTES - pending.len();
            let (now, later) = rest.split_at(room.min(rest.len()));
            pending.extend_from_slice(now);
            rest = later;
            if rest.is_empty() {
                break;
            }
            self.emit(stream, sink);
        }
        if ended {
            self.emit(stream, sink);
        }
    }

    fn emit(&mut self, stream: Stream, sink: &mut dyn LineSink) {
        let pending = &mut self.pending[stream as usize];
        sink.line(stream, pending);
        pending.clear();
        self.lines += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Lines(Vec<(Stream, Vec<u8>)>);

    impl LineSink for Lines {
        fn line(&mut self, stream: Stream, line: &[u8]) {
            self.0.push((stream, line.to_vec()));
        }
    }

    #[test]
    fn lines_are_split_per_stream_and_keep_odd_bytes() {
        let mut lines = Lines::default();
        let mut splitter = LineSplitter::new(1000, 100);
        assert!(splitter.push(Stream::Stdout, b"one\ntw", &mut lines));
        assert!(splitter.push(Stream::Stderr, b"err\xff\r\n", &mut lines));
        assert!(splitter.push(Stream::Stdout, b"o\n\nlast", &mut lines));
        splitter.finish(&mut lines);
        let expected: [(Stream, &[u8]); 5] = [
            (Stream::Stdout, b"one"),
            (Stream::Stderr, b"err\xff\r"),
            (Stream::Stdout, b"two"),
            (Stream::Stdout, b""),
            (Stream::Stdout, b"last"),
        ];
        let got: Vec<_> = lines.0.iter().map(|(s, l)| (*s, l.as_slice())).collect();
        assert_eq!(got, expected);
        assert_eq!(splitter.bytes(), 19);
    }

    #[test]
    fn a_line_longer_than_the_buffer_comes_in_pieces() {
        let mut lines = Lines::default();
        let mut splitter = LineSplitter::new(u64::MAX, 100);
        let long = vec![b'x'; MAX_LINE_BYTES * 2 + 5];
        splitter.push(Stream::Stdout, &long, &mut lines);
        splitter.push(Stream::Stdout, b"\n", &mut lines);
        let sizes: Vec<_> = lines.0.iter().map(|(_, line)| line.len()).collect();
        assert_eq!(sizes, [MAX_LINE_BYTES, MAX_LINE_BYTES, 5]);
    }

    #[test]
    fn both_bounds_end_the_output_and_nothing_beyond_them_is_handed_on() {
        let mut lines = Lines::default();
        let mut splitter = LineSplitter::new(5, 100);
        assert!(splitter.push(Stream::Stdout, b"12345", &mut lines));
        assert!(!splitter.push(Stream::Stdout, b"67\n", &mut lines));
        splitter.finish(&mut lines);
        assert_eq!(lines.0, [(Stream::Stdout, b"12345".to_vec())]);
        assert_eq!(splitter.bytes(), 8);

        let mut lines = Lines::default();
        let mut splitter = LineSplitter::new(1000, 2);
        assert!(splitter.push(Stream::Stderr, b"\n\n", &mut lines));
        assert!(!splitter.push(Stream::Stderr, b"x\ny\n", &mut lines));
        assert_eq!(lines.0.len(), 2);
    }
}
