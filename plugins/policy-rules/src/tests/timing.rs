use super::*;
#[test]
#[ignore]
fn timing() {
    let text = std::fs::read_to_string("/tmp/c-200.cedar").unwrap();
    let rule = configured(&text);
    let mut r = request("kms.secrets.unwrap");
    r.principal.assignments = vec![assignment(&["Reader"]), assignment(&["Writer"])];
    for _ in 0..3 {
        let t = std::time::Instant::now();
        for _ in 0..20000 { assert!(matches!(rule.evaluate(&r).unwrap().decision, Decision::Allow(_))); }
        println!("{:?} per call", t.elapsed() / 20000);
    }
}
