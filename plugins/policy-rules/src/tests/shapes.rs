// Conditions as deep, each in its own way, as what takes policies lets through; a level more is refused. The same list is
// evaluated in the sandbox, whose stack they have to fit.
type Shape = (&'static str, usize, fn(usize) -> String);
const SHAPES: [Shape; 16] = [
    ("and", 33, |n| vec!["context.time.hour >= 0"; n].join(" && ")),
    ("or", 40, |n| vec!["context.time.hour < 0"; n].join(" || ") + " || true"),
    ("not", 19, |n| format!("{}true{}", "!(".repeat(n), ")".repeat(n))),
    ("minus", 19, |n| format!("{}1{} != 7", "-(".repeat(n), ")".repeat(n))),
    ("plus", 67, |n| vec!["1"; n].join(" + ") + " > 0"),
    ("times", 67, |n| vec!["1"; n].join(" * ") + " > 0"),
    ("brackets", 19, |n| format!("{}true{}", "(".repeat(n), ")".repeat(n))),
    ("and in brackets", 19, |n| format!("{}context.time.hour >= 0{}", "(true && ".repeat(n), ")".repeat(n))),
    ("sets", 18, |n| format!("!({}1{}.isEmpty())", "[".repeat(n), "]".repeat(n))),
    ("records", 19, |n| format!("{}1{} has a", "{a: ".repeat(n), "}".repeat(n))),
    ("if", 20, |n| format!("{}true", "if context.time.hour >= 0 then true else ".repeat(n))),
    ("if in if", 33, |n| format!("{}true{}", "if ".repeat(n), " then true else false".repeat(n))),
    ("calls", 67, |n| vec!["[1].containsAll([1])"; n].join(" && ")),
    ("has", 50, |n| vec!["resource has ring"; n].join(" && ")),
    ("like", 40, |n| vec!["principal.id like \"a*\""; n].join(" && ")),
    ("in", 50, |n| vec!["resource in Ring::\"prod\""; n].join(" && ")),
];
