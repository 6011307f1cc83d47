//! The promise that matters: what was acknowledged survives kill -9, and what was not leaves nothing half done.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use keygate_core::store::{Change, KeyFilter, KeyStore};
use keygate_store::conformance::samples::{EVERYTHING, all_keys, insert, instance, key_id, next, version, version_id};
use keygate_store::{RedbOptions, RedbStore};

/// Where the child has its store, and with which number its keys begin.
const FILE: &str = "KEYGATE_TEST_CRASH_FILE";
const FROM: &str = "KEYGATE_TEST_CRASH_FROM";

const CALLERS: u32 = 8;
const ROUNDS: u32 = 3;
const KEYS_A_ROUND: u32 = 1_000_000;

/// The child: commits from several callers until it is killed, and says what was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "not a test of its own: the one below starts it as a process, and kills it"]
async fn child_that_commits_until_it_is_killed() {
    let path = PathBuf::from(std::env::var_os(FILE).expect("started by hand"));
    let from: u32 = std::env::var(FROM).unwrap().parse().unwrap();
    let store = Arc::new(RedbStore::open(&path, RedbOptions::default()).unwrap());
    let callers: Vec<_> =
        (0..CALLERS).map(|caller| tokio::spawn(commit_for_ever(Arc::clone(&store), from + caller))).collect();
    for caller in callers {
        caller.await.unwrap();
    }
}

async fn commit_for_ever(store: Arc<RedbStore>, mut number: u32) {
    loop {
        // A key and its second version in one batch, then an update: `I` and `U` with the number when acknowledged.
        let (key, mut batch) = insert(instance(1), number, &[&format!("alias-{number}")]).unwrap();
        batch.push(Change::InsertVersion { instance: key.instance, key: key.id, version: version(number, 2) });
        store.commit(batch).await.unwrap();
        say('I', number);
        let renamed = next(&key, |key| key.name.push('!'));
        store.commit(vec![Change::UpdateKey { key: renamed }]).await.unwrap();
        say('U', number);
        number += CALLERS;
    }
}

/// One line, at once and in one piece.
fn say(what: char, number: u32) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n{what} {number}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// What the child of one round said before it was killed.
fn acknowledged_before_the_kill(path: &Path, from: u32) -> Vec<(char, u32)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_commits_until_it_is_killed", "--ignored", "--nocapture", "--test-threads=1"])
        .env(FILE, path)
        .env(FROM, from.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (sender, receiver) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        lines.map_while(Result::ok).filter_map(|line| parse(&line)).for_each(|said| _ = sender.send(said));
    });
    // Once it has got going, a little longer, so that it is killed in the midst of things.
    let mut said: Vec<_> = receiver.recv_timeout(Duration::from_secs(30)).into_iter().collect();
    let killing = Instant::now() + Duration::from_millis(500);
    while let Ok(more) = receiver.recv_timeout(killing.saturating_duration_since(Instant::now())) {
        said.push(more);
    }
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "the child ended by itself: {status}");
    reader.join().unwrap();
    said.extend(receiver.try_iter());
    said
}

fn parse(line: &str) -> Option<(char, u32)> {
    let (what, number) = line.split_once(' ')?;
    let what = match what {
        "I" => 'I',
        "U" => 'U',
        _ => return None,
    };
    number.parse().ok().map(|number| (what, number))
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.redb");
    let mut said = Vec::new();
    for round in 0..ROUNDS {
        let new = acknowledged_before_the_kill(&path, round * KEYS_A_ROUND);
        assert!(new.len() > 20, "round {round} got nowhere: {} acknowledged", new.len());
        said.extend(new);

        let store = RedbStore::open(&path, RedbOptions::default()).unwrap();
        for (what, number) in &said {
            let key = store.key(instance(1), key_id(*number)).await.unwrap();
            let key = key.unwrap_or_else(|| unreachable!("key {number} was acknowledged and is not there"));
            let wanted = if *what == 'U' { 2..=2 } else { 1..=2 };
            assert!(wanted.contains(&key.revision), "key {number} is at revision {} after {what}", key.revision);
        }
        // Acknowledged or not, each key is there with all of its batch.
        let store: Arc<dyn KeyStore> = Arc::new(store);
        let all = all_keys(&store, instance(1)).await.unwrap();
        assert_eq!(store.count(instance(1), &KeyFilter::default()).await, Ok(all.len()));
        for key in &all {
            let alias = &key.aliases[0].alias;
            assert_eq!(store.key_by_alias(key.instance, alias).await.unwrap().as_ref(), Some(key));
            assert_eq!(store.versions(key.instance, key.id, EVERYTHING).await.unwrap().total, 2);
            let number: u32 = alias.as_str().trim_start_matches("alias-").parse().unwrap();
            let second = store.version(key.instance, key.id, version_id(number, 2)).await.unwrap();
            assert_eq!(second, Some(version(number, 2)));
            assert_eq!(key.name.ends_with('!'), key.revision == 2);
        }
        store.check().await.unwrap();
    }
}
