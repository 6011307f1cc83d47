use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use keygate_core::access::obligations::Note;
use keygate_core::access::question::{NetworkFacts, PolicyFacts, Question};
use keygate_core::access::{Answer, Denial, DenialKind, Endpoint, Network, Obligation, RuleAnswer};
use keygate_core::audit::{DecisionRecord, Initiator, Outcome, RecordedVerdict, Severity};
use keygate_core::clock::Timestamp;
use keygate_core::error::{Error, ReasonCode};
use keygate_core::instance::Instance;
use serde_json::{Value, json};

use super::super::bounds;
use super::*;
use crate::status::status;

const INSTANCE: &str = "fadedbee-0000-4000-8000-000000000001";
const KEY: &str = "fadedbee-0000-4000-8000-00000000000a";

fn instances() -> Instances {
    let instance = Instance {
        id: INSTANCE.parse().unwrap(),
        name: "one".to_owned(),
        region: "us-south".to_owned(),
        account: "acct".to_owned(),
        backend: "software".to_owned(),
        crypto_instance: None,
    };
    std::iter::once(instance).collect()
}

fn answer(rule: &str, answer: Answer, obligations: &[(&str, &str)]) -> RuleAnswer {
    let obligation = |(name, value): &(&str, &str)| Obligation {
        rule: rule.to_owned(),
        name: (*name).to_owned(),
        value: (*value).to_owned(),
    };
    RuleAnswer {
        rule: rule.to_owned(),
        digest: "ab".to_owned(),
        enforced: true,
        answer,
        obligations: obligations.iter().map(obligation).collect(),
        took: Duration::from_micros(31),
    }
}

fn event() -> AuditEvent {
    AuditEvent {
        at: Timestamp::from_unix_ms(1_589_397_133_320),
        correlation_id: "c-1".to_owned(),
        action: "kms.secrets.wrap".to_owned(),
        outcome: Outcome::Success,
        severity: Severity::Normal,
        initiator: Initiator { id: "IBMid-1".to_owned(), name: Some("Ann".to_owned()), service: None },
        network: Network { address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), endpoint: Endpoint::Public },
        instance: Some(INSTANCE.parse().unwrap()),
        key: Some(KEY.parse().unwrap()),
        request_uri: "/api/v2/keys/x/actions/wrap".to_owned(),
        decision: Some(DecisionRecord {
            verdict: RecordedVerdict::Allow,
            at: Timestamp::from_unix_ms(1_589_397_133_320),
            generation: 3,
            rules: vec![
                answer("access", Answer::Allow, &[]),
                answer("night", Answer::Allow, &[("audit-note", "late")]),
            ],
            notes: vec![Note { rule: "night".to_owned(), text: "late".to_owned() }],
            question: Arc::new(Question { action: "kms.secrets.wrap".to_owned(), ..Question::default() }),
            redirected: None,
        }),
        request: vec![("keyRingId", "default".to_owned())],
        response: vec![
            ("keyVersionId", KEY.to_owned()),
            ("totalResources", "2".to_owned()),
            ("newValue.authID", "IBMid-2".to_owned()),
            ("newValue.authExpiration", "2020-05-20T19:12:13Z".to_owned()),
        ],
    }
}

fn json_of(event: &AuditEvent) -> Value {
    serde_json::to_value(EventLine::new(event, &instances(), status, true)).unwrap()
}

fn lines(path: &Path) -> Vec<Value> {
    std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn an_event_has_the_fields_of_the_contract_and_their_values() {
    let crn = format!("crn:v1:bluemix:public:kms:us-south:a/acct:{INSTANCE}");
    assert_eq!(
        json_of(&event()),
        json!({
            "eventTime": "2020-05-13T19:12:13.32+0000",
            "outcome": "success",
            "message": "Key Protect: wrap secret",
            "action": "kms.secrets.wrap",
            "initiator": {
                "id": "IBMid-1",
                "name": "Ann",
                "typeURI": "service/security/account/user",
                "credential": {"type": "token"},
                "host": {"address": "127.0.0.1"},
            },
            "target": {"id": format!("{crn}:key:{KEY}"), "typeURI": "kms/secrets"},
            "observer": {"name": "ActivityTracker"},
            "reason": {"reasonCode": 200, "reasonType": "OK"},
            "severity": "normal",
            "requestData": {
                "requestURI": "/api/v2/keys/x/actions/wrap",
                "instanceID": INSTANCE,
                "keyRingId": "default",
            },
            "responseData": {
                "keyVersionId": KEY,
                "totalResources": 2,
                "newValue": {"authID": "IBMid-2", "authExpiration": "2020-05-20T19:12:13Z"},
            },
            "dataEvent": true,
            "saveServiceCopy": true,
            "correlationId": "c-1",
            "logSourceCRN": format!("{crn}::"),
            "decision": {
                "verdict": "allow",
                "at": "2020-05-13T19:12:13.320Z",
                "generation": 3,
                "rules": [
                    {"rule": "access", "digest": "ab", "mode": "enforce", "answer": "allow", "reason": null, "tookMicros": 31},
                    {
                        "rule": "night", "digest": "ab", "mode": "enforce", "answer": "allow", "reason": null, "tookMicros": 31,
                        "obligations": [{"name": "audit-note", "value": "late"}],
                    },
                ],
                "notes": [{"rule": "night", "note": "late"}],
                "input": serde_json::to_value(Question {
                    action: "kms.secrets.wrap".to_owned(),
                    ..Question::default()
                }).unwrap(),
            },
        })
    );
}

#[test]
fn a_decision_tells_how_it_came_out_and_the_input_can_be_left_out() {
    let decided = |verdict: RecordedVerdict, rules: Vec<RuleAnswer>| {
        let decision = event().decision.map(|record| DecisionRecord { verdict, rules, ..record });
        json_of(&AuditEvent { decision, ..event() })["decision"].clone()
    };
    let denied =
        decided(RecordedVerdict::Deny("NO_ERR".to_owned()), vec![answer("no", Answer::Deny("NO_ERR".to_owned()), &[])]);
    assert_eq!((&denied["verdict"], &denied["reasonCode"]), (&json!("deny"), &json!("NO_ERR")));
    assert_eq!((&denied["rules"][0]["answer"], &denied["rules"][0]["reason"]), (&json!("deny"), &json!("NO_ERR")));
    let busy = decided(
        RecordedVerdict::Busy,
        vec![RuleAnswer { enforced: false, ..answer("w", Answer::Fault("trap".to_owned()), &[]) }],
    );
    assert_eq!((&busy["verdict"], busy.get("reasonCode")), (&json!("busy"), None));
    assert_eq!((&busy["rules"][0]["mode"], &busy["rules"][0]["reason"]), (&json!("monitor"), &json!("trap")));

    let event = event();
    let without = serde_json::to_value(EventLine::new(&event, &instances(), status, false)).unwrap();
    assert!(without["decision"].get("input").is_none() && without["decision"]["rules"].is_array());
    let unasked = AuditEvent { decision: None, ..event };
    assert!(json_of(&unasked).get("decision").is_none(), "nobody was asked");
}

#[test]
fn what_was_asked_can_be_read_back_from_the_line_and_a_note_cannot_break_it() {
    let question = Question {
        request_id: "two\nlines".to_owned(),
        network: NetworkFacts { address: Some("10.0.0.1".to_owned()), endpoint: Endpoint::Private },
        now: Timestamp::from_unix_ms(1_589_397_133_320),
        ..Question::default()
    };
    let decision = event().decision.map(|record| DecisionRecord { question: Arc::new(question.clone()), ..record });
    let event = AuditEvent { decision, ..event() };
    let line = serde_json::to_string(&EventLine::new(&event, &instances(), status, true)).unwrap();
    assert!(!line.contains('\n'));
    let read: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(serde_json::from_value::<Question>(read["decision"]["input"].clone()).unwrap(), question);
}

#[test]
fn a_failure_tells_its_status_and_why() {
    let denial = Denial { kind: DenialKind::Unauthorized, code: "NO_ROLE".to_owned(), message: "no".to_owned() };
    let failed =
        |error: Error| json_of(&AuditEvent { outcome: Outcome::Failure(error.cause()), ..event() })["reason"].clone();
    assert_eq!(
        failed(Error::Denied(denial)),
        json!({"reasonCode": 401, "reasonType": "Unauthorized", "reasonForFailure": "NO_ROLE"})
    );
    assert_eq!(
        failed(Error::refused(ReasonCode::KeyDeleted, "gone")),
        json!({"reasonCode": 410, "reasonType": "Gone", "reasonForFailure": "KEY_DELETED_ERR"})
    );
    assert_eq!(failed(Error::Internal("secret detail".to_owned()))["reasonCode"], 500);
}

#[test]
fn what_is_not_known_is_left_out_and_private_addresses_too() {
    let private = Network { endpoint: Endpoint::Private, ..event().network };
    let event = AuditEvent {
        network: private,
        instance: None,
        key: None,
        action: "kms.secrets-key-versions.list".to_owned(),
        ..event()
    };
    let json = json_of(&event);
    assert!(json["initiator"].get("host").is_none());
    assert!(json["requestData"].get("instanceID").is_none());
    assert_eq!(json["target"]["id"], "crn:v1:bluemix:public:kms:::::");
    assert_eq!(json["message"], "Key Protect: list secret key versions");
    assert_eq!(json["dataEvent"], false);
}

#[tokio::test]
async fn a_reopened_file_is_appended_to() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    for id in ["c-1", "c-2"] {
        let audit = FileAudit::open(&path, instances(), status).unwrap();
        audit.record(&AuditEvent { correlation_id: id.to_owned(), ..event() }).await.unwrap();
    }
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    let ids: Vec<_> = lines(&path).iter().map(|line| line["correlationId"].clone()).collect();
    assert_eq!(ids, ["c-1", "c-2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_writers_leave_whole_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let audit = Arc::new(FileAudit::open(&path, instances(), status).unwrap());
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let audit = Arc::clone(&audit);
            tokio::spawn(async move {
                for i in 0..50 {
                    let event = AuditEvent { correlation_id: format!("{task}-{i}"), ..event() };
                    audit.record(&event).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let ids: BTreeSet<_> = lines(&path).iter().map(|line| line["correlationId"].to_string()).collect();
    assert_eq!(ids.len(), 400);
}

/// A disk that takes so many bytes and then is full, until it is given more room.
struct Disk {
    bytes: Vec<u8>,
    room: usize,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.room == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let n = bytes.len().min(self.room);
        self.bytes.extend_from_slice(&bytes[..n]);
        self.room -= n;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Disk {
    fn set_aside(&self, bytes: u64) -> io::Result<()> {
        if (self.room as u64) < bytes { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

fn disk(room: usize) -> Lines<Disk> {
    Lines::new(Disk { bytes: Vec::new(), room }, false)
}

#[test]
fn what_a_full_disk_did_not_take_is_an_error_and_is_written_when_there_is_room() {
    let mut file = disk(12);
    file.append(b"{\"a\":1}").unwrap();
    assert!(file.append(b"{\"b\":2}").is_err());
    assert!(file.append(b"{\"c\":3}").is_err(), "the disk is full");
    file.out.room = 100;
    file.append(b"{\"d\":4}").unwrap();
    assert_eq!(file.out.bytes, b"{\"a\":1}\n{\"b\":2}\n{\"c\":3}\n{\"d\":4}\n");
}

#[test]
fn what_is_owed_has_a_bound() {
    let mut file = disk(0);
    for _ in 0..3000 {
        assert!(file.append(&[b'x'; 1000]).is_err());
    }
    assert!(file.owed.len() <= MOST_OWED);
    file.out.room = usize::MAX;
    file.append(b"last").unwrap();
    assert!(file.out.bytes.ends_with(b"xxx\nlast\n"), "only whole lines were left out");
}

#[test]
fn a_full_disk_shows_before_anything_is_done() {
    let space = (margin(REQUESTS) + AHEAD) as usize;
    let mut file = disk(space + 100);
    file.reserve().unwrap();
    file.append(&[b'x'; 200]).unwrap();
    file.reserve().unwrap();
    file.append(&vec![b'x'; AHEAD as usize]).unwrap();
    assert!(file.reserve().is_err(), "what is left is for requests that are in work already");
    file.append(b"of one in work").unwrap();
    file.out.room = 2 * space;
    file.reserve().unwrap();
}

/// An event of which everything that can be long is.
fn huge(policy_attributes: usize) -> AuditEvent {
    let attributes =
        (0..policy_attributes).map(|n| ("allowed_ip".to_owned(), format!("2001:db8:{n:x}::/64"))).collect();
    let mut question = Question { action: "kms.secrets.wrap".to_owned(), ..Question::default() };
    question.target.instance_policies = vec![PolicyFacts { kind: "allowedIP".to_owned(), attributes }];
    question.principal.id = "IBMid-1".to_owned();
    let decision = event().decision.map(|record| DecisionRecord { question: Arc::new(question), ..record });
    AuditEvent { decision, ..event() }
}

fn line_of(event: &AuditEvent) -> String {
    bounds::line(&EventLine::new(event, &instances(), status, true)).unwrap()
}

#[tokio::test]
async fn all_requests_in_work_have_room_for_the_longest_events_when_the_disk_is_full() {
    let mut event = huge(60);
    let record = event.decision.as_mut().unwrap();
    let mut question = (*record.question).clone();
    question.principal.attributes = (0..400).map(|n| (format!("{n}"), "x".repeat(60))).collect();
    record.question = Arc::new(question);
    let line = line_of(&event);
    assert!(line.len() > LONGEST * 9 / 10 && line.len() < LONGEST, "as long as one can be: {}", line.len());
    assert!(line.contains("\"input\":{\"request_id"), "and whole");

    let requests = 32;
    let mut file = disk((margin(requests) + AHEAD) as usize);
    file.margin = margin(requests);
    // As many requests come as are let in, while others end, until there is no room for one more.
    let mut in_work = 0;
    for _ in 0..10_000 {
        if file.reserve().is_err() {
            break;
        }
        in_work += 1;
        if in_work == requests {
            file.append(line.as_bytes()).unwrap();
            in_work -= 1;
        }
    }
    assert!(file.reserve().is_err() && in_work == requests - 1);
    for _ in 0..2 * in_work {
        file.append(line.as_bytes()).unwrap();
    }
}

#[test]
fn an_event_is_never_longer_than_what_is_set_aside_for_it() {
    // A long list of addresses is its number and its digest, which anybody can compute.
    let cut: Value = serde_json::from_str(&line_of(&huge(1_000))).unwrap();
    let policy = &cut["decision"]["input"]["target"]["instance_policies"][0];
    let whole = huge(1_000).decision.unwrap().question;
    let attributes = serde_json::to_string(&whole.target.instance_policies[0].attributes).unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, attributes.as_bytes());
    let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(policy, &json!({"kind": "allowedIP", "count": 1_000, "sha256": digest}));
    assert_eq!(cut["decision"]["input"]["principal"]["id"], "IBMid-1", "the rest is as it was");
    let short: Value = serde_json::from_str(&line_of(&huge(64))).unwrap();
    let read = serde_json::from_value::<Question>(short["decision"]["input"].clone()).unwrap();
    assert_eq!(read, *huge(64).decision.unwrap().question, "a short one can be replayed");

    // Who has thousands of roles has an event without the question, and the rest is whole.
    let mut event = huge(1);
    let record = event.decision.as_mut().unwrap();
    let mut question = (*record.question).clone();
    question.principal.assignments = vec![keygate_core::access::question::AssignmentFacts::default(); 3_000];
    let text = serde_json::to_string(&question).unwrap();
    record.question = Arc::new(question);
    let line = line_of(&event);
    let cut: Value = serde_json::from_str(&line).unwrap();
    assert!(line.len() < LONGEST);
    assert_eq!(cut["decision"]["input"]["cut"]["bytes"], text.len());
    assert_eq!(cut["decision"]["rules"][1]["obligations"][0]["value"], "late");
    assert!(cut.get("cut").is_none());

    // And where anything else is long, it says so.
    event.request_uri = "/\u{1}".repeat(30_000);
    event.correlation_id = "c".repeat(100_000);
    let line = line_of(&event);
    let cut: Value = serde_json::from_str(&line).unwrap();
    assert!(line.len() < LONGEST && cut["cut"]["bytes"].as_u64().unwrap() > 100_000, "{line}");
    assert_eq!((&cut["outcome"], &cut["decision"]["verdict"]), (&json!("success"), &json!("allow")));
}

#[test]
fn after_a_line_that_was_not_written_nothing_is_promised_until_it_is() {
    let room = 2 * (margin(REQUESTS) + AHEAD) as usize;
    let mut file = disk(room);
    file.reserve().unwrap();
    file.out.room = 3;
    assert!(file.append(b"12345").is_err());
    assert!(file.reserve().is_err());
    file.out.room = room;
    file.reserve().unwrap();
    assert_eq!(file.out.bytes, b"12345\n");
}

#[tokio::test]
async fn a_file_that_ends_in_the_middle_of_a_line_is_mended_and_space_is_set_aside_unseen() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    for (before, lines) in [("", 1), ("{}\n", 2), ("{}\n{\"half", 3)] {
        std::fs::write(&path, before).unwrap();
        let audit = FileAudit::open(&path, instances(), status).unwrap();
        audit.reserve().unwrap();
        audit.record(&event()).await.unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), lines, "{text}");
        let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(last["correlationId"], "c-1");
    }
}

#[test]
fn only_a_regular_file_will_do() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    for path in [Path::new("/dev/full"), dir.path(), &pipe] {
        assert!(matches!(FileAudit::open(path, instances(), status), Err(AuditFileError::NotAFile)), "{path:?}");
        assert!(matches!(FileAudit::check(path), Err(AuditFileError::NotAFile)), "{path:?}");
    }
    let none = dir.path().join("none");
    assert!(FileAudit::check(&none).is_err() && !none.exists());
    assert!(FileAudit::open(&none.join("x"), instances(), status).is_err());
}
