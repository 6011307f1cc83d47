//! Transcripts in documents, carried out: each `console` block of a Markdown file is what a newcomer types and sees.
//!
//! A line that begins with `$ ` is typed, and so are those with `> ` below it; the other lines are what is seen then. In
//! them, `[..]` stands for any part of a line and a line of `...` for any number of lines. All blocks of a file go to one
//! shell, one after the other, in a directory that begins empty. Every command must succeed, unless the line after its
//! output says `? 3`: then its exit code must be that.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// How long one command may take. Some build a component from nothing.
const PATIENCE: Duration = Duration::from_secs(600);

/// What ends the output of a command, before its exit code.
const MARK: &str = "-- keygate transcript: the command ended with";

/// Something typed, and what is seen then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Where in the file, from 1.
    pub line: usize,
    /// What is typed.
    pub command: String,
    /// What is seen, a pattern a line.
    pub seen: Vec<String>,
    /// The exit code.
    pub code: i32,
}

/// The steps of a Markdown text.
///
/// # Panics
/// When a block begins with output, or is not closed.
pub fn steps(markdown: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut open = None;
    for (number, line) in markdown.lines().enumerate() {
        let number = number + 1;
        let Some(begin) = open else {
            open = (line.trim_end() == "```console").then_some(number);
            continue;
        };
        let first = steps.last_mut().filter(|step| step.line > begin);
        match (line, first) {
            ("```", _) => open = None,
            _ if line.starts_with("$ ") => {
                steps.push(Step { line: number, command: line[2..].to_owned(), seen: Vec::new(), code: 0 });
            }
            (_, None) => panic!("line {number}: a console block begins with a command, `$ ...`"),
            (_, Some(step)) if step.seen.is_empty() && (line == ">" || line.starts_with("> ")) => {
                step.command.push('\n');
                step.command.push_str(line.get(2..).unwrap_or_default());
            }
            (_, Some(step)) => match line.strip_prefix("? ").and_then(|code| code.parse().ok()) {
                Some(code) => step.code = code,
                None => step.seen.push(line.trim_end().to_owned()),
            },
        }
    }
    assert!(open.is_none(), "the console block of line {} is not closed", open.unwrap_or_default());
    steps
}

/// Whether lines are what the patterns say.
pub fn fits(patterns: &[String], lines: &[String]) -> bool {
    match patterns.split_first() {
        None => lines.is_empty(),
        Some((first, rest)) if first == "..." => (0..=lines.len()).any(|skipped| fits(rest, &lines[skipped..])),
        Some((first, rest)) => {
            lines.split_first().is_some_and(|(line, more)| line_fits(first, line) && fits(rest, more))
        }
    }
}

/// Whether a line is what a pattern says.
fn line_fits(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split("[..]");
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

/// A shell that is typed into. Everything that it started is ended with it.
struct Shell {
    child: Child,
    input: ChildStdin,
    output: Receiver<String>,
}

impl Shell {
    fn start(directory: &Path, environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new("bash")
            .args(["--noprofile", "--norc"])
            .current_dir(directory)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("bash can be started");
        let mut input = child.stdin.take().expect("its input is a pipe");
        writeln!(input, "exec 2>&1").expect("it reads");
        let lines = BufReader::new(child.stdout.take().expect("its output is a pipe")).lines();
        let (sender, output) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, input, output }
    }

    /// Types a command and waits for its end. Its output and its exit code.
    fn carry_out(&mut self, command: &str) -> (Vec<String>, i32) {
        // The empty line ends what the command left unended.
        writeln!(self.input, "{command}\nprintf '\\n%s %s\\n' '{MARK}' $?").expect("the shell reads");
        let mut lines = Vec::new();
        loop {
            let line = match self.output.recv_timeout(PATIENCE) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => panic!("no end of `{command}`; so far:\n{}", lines.join("\n")),
                Err(RecvTimeoutError::Disconnected) => panic!("`{command}` ended the shell:\n{}", lines.join("\n")),
            };
            if let Some(code) = line.strip_prefix(MARK) {
                while lines.last().is_some_and(|line: &String| line.is_empty()) {
                    lines.pop();
                }
                return (lines, code.trim().parse().expect("an exit code"));
            }
            lines.push(line.trim_end().to_owned());
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // The group is the shell's own: it and what it put into the background.
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// Carries a document out in `directory`.
///
/// # Panics
/// With all that came otherwise than it is written. What follows a failed command is not tried.
pub fn carry_out(markdown: &str, directory: &Path, environment: &[(&str, &str)]) {
    let mut shell = Shell::start(directory, environment);
    let mut wrong = String::new();
    for step in steps(markdown) {
        let (lines, code) = shell.carry_out(&step.command);
        let (line, command) = (step.line, &step.command);
        if code != step.code {
            panic!("{wrong}line {line}: `{command}` ended with {code}, not {}:\n{}", step.code, lines.join("\n"));
        }
        let mut seen = step.seen.clone();
        while seen.last().is_some_and(String::is_empty) {
            seen.pop();
        }
        if !fits(&seen, &lines) {
            let _ = write!(
                wrong,
                "line {line}: `{command}` printed\n{}\nand not\n{}\n\n",
                lines.join("\n"),
                seen.join("\n")
            );
        }
    }
    assert!(wrong.is_empty(), "the document is not true any more:\n{wrong}");
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Text.\n\n```console\n$ printf 'a\\nb\\n'\na\nb\n$ cat <<'E'\n> one\n>\n> two\n> E\none\n...\n$ exit_with() { return \
                        $1; }; exit_with 3\n? 3\n```\n\n```sh\n$ not this\n```\n\n```console\n$ echo x-1-y $MORE\nx-[..]-y more\n```\n";

    #[test]
    fn steps_are_found_with_what_is_seen() {
        let steps = steps(TEXT);
        assert_eq!(steps.len(), 4);
        assert_eq!((steps[0].line, steps[0].seen.as_slice()), (4, ["a".to_owned(), "b".to_owned()].as_slice()));
        assert_eq!(steps[1].command, "cat <<'E'\none\n\ntwo\nE");
        assert_eq!((steps[2].code, steps[2].seen.len()), (3, 0));
        assert_eq!(steps[3].seen, ["x-[..]-y more"]);
    }

    #[test]
    fn a_true_document_passes_and_a_false_one_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let run = |text: &str| {
            std::panic::catch_unwind(|| carry_out(text, directory.path(), &[("MORE", "more")]))
                .map_err(|panic| *panic.downcast::<String>().unwrap())
        };
        run(TEXT).unwrap();
        let told = run(&TEXT.replace("\na\nb\n", "\na\nc\n")).unwrap_err();
        assert!(told.contains("line 4: ") && told.contains("printed\na\nb\nand not\na\nc\n"), "{told}");
        let told = run(&TEXT.replace("? 3", "? 4")).unwrap_err();
        assert!(told.contains("ended with 3, not 4"), "{told}");
        assert!(run("```console\n$ false\n```\n").is_err());
        assert!(run("```console\n$ exit 0\n```\n").unwrap_err().contains("ended the shell"));
    }

    #[test]
    fn patterns_stand_for_parts_of_lines_and_for_lines() {
        let lines = |text: &[&str]| text.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        for (pattern, line, is_so) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("[..]", "", true),
            ("a[..]c", "abc", true),
            ("a[..]c", "abcd", false),
            ("a[..]b[..]c", "a1b2b3c", true),
            ("a[..]a", "a", false),
            ("[..]x", "ax", true),
        ] {
            assert_eq!(line_fits(pattern, line), is_so, "{pattern:?} of {line:?}");
        }
        assert!(fits(&lines(&["a", "...", "d"]), &lines(&["a", "b", "c", "d"])));
        assert!(fits(&lines(&["..."]), &[]));
        assert!(!fits(&lines(&["a", "..."]), &lines(&["b"])));
        assert!(!fits(&[], &lines(&["more"])));
    }
}
