//! What a guest writes to its standard output and error: lines in its log.

use wasmtime::Result;

use crate::bindings::open::keygate::host::log::Level;
use crate::host::log::{self, MAX_MESSAGE};
use crate::sandbox::State;

/// The beginning of a line whose end was not written yet. Never longer than a line of the log can be.
#[derive(Default)]
pub(super) struct Lines(Vec<u8>);

impl Lines {
    /// The lines that are whole with these bytes. A line that gets too long is cut in two.
    fn take(&mut self, bytes: &[u8], mut emit: impl FnMut(String)) {
        for byte in bytes {
            if *byte != b'\n' {
                self.0.push(*byte);
            }
            if *byte == b'\n' || self.0.len() >= MAX_MESSAGE {
                self.rest(&mut emit);
            }
        }
    }

    /// The beginning of a line without an end.
    pub(super) fn unended(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }

    /// What has no end yet is a line, too.
    fn rest(&mut self, mut emit: impl FnMut(String)) {
        let line = String::from_utf8_lossy(&self.0);
        let line = line.trim_end();
        if !line.is_empty() {
            emit(line.to_owned());
        }
        self.0.clear();
    }
}

impl State {
    /// Takes what a guest writes to one of its streams.
    pub(super) fn written(&mut self, stream: u32, bytes: &[u8]) -> Result<()> {
        let mut whole = Vec::new();
        self.lines(stream)?.take(bytes, |line| whole.push(line));
        self.tell(stream, whole);
        Ok(())
    }

    /// Says what was written and not ended. Nothing more is coming.
    pub(crate) fn say_the_rest(&mut self) {
        for stream in [super::STDOUT, super::STDERR] {
            let mut rest = Vec::new();
            if let Ok(lines) = self.lines(stream) {
                lines.rest(|line| rest.push(line));
            }
            self.tell(stream, rest);
        }
    }

    fn lines(&mut self, stream: u32) -> Result<&mut Lines> {
        match stream {
            super::STDOUT => Ok(&mut self.wasi.stdout),
            super::STDERR => Ok(&mut self.wasi.stderr),
            _ => Err(wasmtime::Error::msg("this stream was never handed out")),
        }
    }

    fn tell(&mut self, stream: u32, lines: Vec<String>) {
        // Nobody chose what a traceback quotes: a backend's could be what it had at hand, which is key material.
        let complains = if self.facts.world.is_backend() { Level::Debug } else { Level::Warn };
        for line in lines {
            if stream == super::STDERR {
                self.spoken.complaint(&line);
                log::emit(self, complains, &line, &[]);
            } else {
                log::emit(self, Level::Info, &line, &[]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::kept_log::Log;
    use crate::host::tests::{idle, idle_rule};

    #[test]
    fn what_a_backend_writes_to_its_standard_error_is_for_who_asks_for_it() {
        for (mut store, complaint) in [(idle(), "DEBUG"), (idle_rule(), "WARN")] {
            let log = Log::default();
            tracing::subscriber::with_default(log.clone(), || {
                store.data_mut().written(super::super::STDERR, b"material = 0xA5\n").unwrap();
                store.data_mut().written(super::super::STDOUT, b"at work\n").unwrap();
            });
            assert_eq!(log.lines(), [format!("{complaint} x test material = 0xA5"), "INFO x test at work".to_owned()]);
        }
    }

    #[test]
    fn lines_are_put_together_from_what_is_written() {
        let mut lines = Lines::default();
        let mut whole = Vec::new();
        for part in [&b"one"[..], b" line\ntwo\r\n\n", b"\xff three"] {
            lines.take(part, |line| whole.push(line));
        }
        assert_eq!(whole, ["one line", "two"]);
        lines.rest(|line| whole.push(line));
        assert_eq!(whole[2], "\u{fffd} three");
        lines.rest(|line| whole.push(line));
        assert_eq!(whole.len(), 3);
    }

    #[test]
    fn what_never_ends_is_cut_into_lines() {
        let mut lines = Lines::default();
        let mut whole = Vec::new();
        lines.take(&vec![b'x'; 3 * MAX_MESSAGE + 1], |line| whole.push(line.len()));
        assert_eq!(whole, [MAX_MESSAGE; 3]);
        assert_eq!(lines.0.len(), 1);
    }
}
