//! One expression: compiled and tried before the child starts, judged when it has ended.

use std::{
    ops::Range,
    sync::{Arc, OnceLock},
    time::Duration,
};

use cel::{
    Context, Env, ExecutionError, IdedExpr, Program, Value,
    common::ast::{ComprehensionExpr, Expr, operators},
    objects::Key,
};

use super::{
    facts::{Facts, sample},
    literals::Rewritten,
    names::{Known, Names, Wanted, known, text, written},
};
use crate::{
    policy::condition::{self, MOST_INSIDE, Mistake},
    traffic::{
        assertion::{Actual, Figure, Verdict},
        summary::ChildOutcome,
    },
};

/// Values that are told of, of those that an expression looked at.
const MOST_TOLD: usize = 8;

/// Entries that are told of, of those for which a comprehension does not hold.
const MOST_NAMED: usize = 3;

/// An expression over what passed, which holds or does not.
pub(super) struct Expression {
    /// As it was written.
    pub(super) source: String,
    /// Compiled.
    program: Program,
    /// What it looks at.
    wanted: Wanted,
}

/// What came of an expression.
#[derive(Debug)]
pub(super) struct Judged {
    /// Whether it holds.
    pub(super) outcome: Verdict,
    /// What it looked at.
    pub(super) actual: Vec<Actual>,
    /// What else there is to say.
    pub(super) detail: Option<String>,
}

impl Expression {
    /// Compiles an expression and tries it. The parser needs much room on the stack: see `config::CONDITION_ROOM`.
    ///
    /// # Errors
    /// All that is wrong with it: at least one mistake.
    pub(super) fn compile(source: &str) -> Result<Self, Vec<Mistake>> {
        let whole = |reason| vec![Mistake { reason, place: None }];
        condition::check_size("an assertion", source).map_err(whole)?;
        let rewritten = Rewritten::of(source).map_err(|mistake| vec![mistake])?;
        let led_back = |mistakes: Vec<Mistake>| -> Vec<Mistake> {
            let back = |place: Range<usize>| rewritten.back(&place);
            let each = mistakes.into_iter().map(|mistake| Mistake {
                place: mistake.place.map(back),
                ..mistake
            });
            each.collect()
        };
        let program = Program::compile(&rewritten.text)
            .map_err(|errors| led_back(condition::syntax("assertion", &rewritten.text, &errors)))?;
        let mut names = Names::of(&rewritten.text, program.source_info(), program.expression());
        if names.most_inside > MOST_INSIDE {
            let reason = format!("more than {MOST_INSIDE} operations of this assertion are inside each other");
            names.mistakes.push(Mistake { reason, place: None });
        }
        if !names.mistakes.is_empty() {
            return Err(led_back(names.mistakes));
        }
        let wanted = names.wanted;
        let context = context(sample(&wanted));
        rehearse(program.expression(), &context).map_err(whole)?;
        match Value::resolve(program.expression(), &context) {
            // An entry that is computed may be there in what really passes.
            Ok(Value::Bool(_)) | Err(_) => {}
            Ok(other) => {
                let reason = format!("an assertion is true or false, and this is a {}", other.type_of());
                return Err(whole(reason));
            }
        }
        Ok(Self {
            source: source.to_owned(),
            program,
            wanted,
        })
    }

    /// Whether it holds.
    pub(super) fn judge(&self, facts: &Facts<'_>) -> Judged {
        let context = context(facts.variables(&self.wanted));
        let mut looked = Vec::new();
        collect(self.program.expression(), &mut looked);
        let actual = || {
            let each = looked.iter().filter_map(|part| actual(part, &context));
            each.take(MOST_TOLD).collect()
        };
        match Value::resolve(self.program.expression(), &context) {
            Ok(Value::Bool(true)) => Judged {
                outcome: Verdict::Passed,
                actual: actual(),
                detail: None,
            },
            Ok(Value::Bool(false)) => Judged {
                outcome: Verdict::Failed,
                actual: actual(),
                detail: culprits(self.program.expression(), &context),
            },
            Err(ExecutionError::NoSuchKey(key)) => Judged {
                outcome: Verdict::NoData,
                actual: actual(),
                detail: Some(missing(&looked, &key, &context, facts)),
            },
            Ok(other) => Judged {
                outcome: Verdict::Error,
                actual: actual(),
                detail: Some(format!("it is a {} and neither true nor false", other.type_of())),
            },
            Err(error) => Judged {
                outcome: Verdict::Error,
                actual: actual(),
                detail: Some(condition::explain(&error)),
            },
        }
    }
}

impl std::fmt::Debug for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Expression").field(&self.source).finish()
    }
}

/// What an expression is evaluated in.
fn context(variables: Vec<(&'static str, Value)>) -> Context<'static, 'static> {
    static STANDARD: OnceLock<Arc<Env>> = OnceLock::new();
    let standard = STANDARD.get_or_init(|| Arc::new(Env::stdlib()));
    let mut context = Context::with_env(Arc::clone(standard));
    for (name, value) in variables {
        context.add_variable_from_value(name, value);
    }
    context
}

/// Tries a part on the sample, both sides of what is joined by `&&` and the like: one of them would otherwise hide the other.
fn rehearse(part: &IdedExpr, context: &Context<'_, '_>) -> Result<(), String> {
    match &part.expr {
        Expr::Call(call)
            if matches!(
                call.func_name.as_str(),
                operators::LOGICAL_AND
                    | operators::LOGICAL_OR
                    | operators::LOGICAL_NOT
                    | operators::CONDITIONAL
                    | operators::NOT_STRICTLY_FALSE
            ) =>
        {
            for inside in &call.args {
                rehearse(inside, context)?;
            }
            Ok(())
        }
        Expr::Call(call) if call.args.len() == 2 && is_comparison(&call.func_name) => {
            let (left, right) = (&call.args[0], &call.args[1]);
            rehearse(left, context)?;
            rehearse(right, context)?;
            compare(&call.func_name, left, right, context)
        }
        Expr::Comprehension(all) => rehearse_each(all, context),
        _ => match Value::resolve(part, context) {
            // What is not there may be there in what really passes, and an index may be right.
            Ok(_) | Err(ExecutionError::NoSuchKey(_) | ExecutionError::IndexOutOfBounds(_)) => Ok(()),
            Err(error) => Err(condition::explain(&error)),
        },
    }
}

/// Tries what a comprehension asks of each entry on one of them.
fn rehearse_each(all: &ComprehensionExpr, context: &Context<'_, '_>) -> Result<(), String> {
    rehearse(&all.iter_range, context)?;
    let Ok(range) = Value::resolve(&all.iter_range, context) else {
        return Ok(());
    };
    let (first, second) = match &range {
        Value::Map(map) => match map.map.iter().next() {
            Some((key, value)) => (of_key(key), value.clone()),
            None => return Ok(()),
        },
        Value::List(list) => match list.iter().next() {
            Some(element) => (element.clone(), Value::Int(0)),
            None => return Ok(()),
        },
        other => return Err(format!("a {} has no entries to go through", other.type_of())),
    };
    let mut inner = context.new_inner_scope();
    inner.add_variable_from_value(all.iter_var.as_str(), first);
    if let Some(name) = &all.iter_var2 {
        inner.add_variable_from_value(name.as_str(), second);
    }
    if let Ok(start) = Value::resolve(&all.accu_init, context) {
        inner.add_variable_from_value(all.accu_var.as_str(), start);
    }
    rehearse(&all.loop_step, &inner)
}

/// The value of a map's key.
fn of_key(key: &Key) -> Value {
    match key {
        Key::Int(number) => Value::Int(*number),
        Key::Uint(number) => Value::UInt(*number),
        Key::Bool(flag) => Value::Bool(*flag),
        Key::String(text) => Value::String(Arc::clone(text)),
    }
}

/// Whether an operator compares.
fn is_comparison(name: &str) -> bool {
    matches!(
        name,
        operators::EQUALS
            | operators::NOT_EQUALS
            | operators::LESS
            | operators::LESS_EQUALS
            | operators::GREATER
            | operators::GREATER_EQUALS
    )
}

/// Whether two parts can be compared; CEL itself calls a duration and a number unequal and says no more.
fn compare(operator: &str, left: &IdedExpr, right: &IdedExpr, context: &Context<'_, '_>) -> Result<(), String> {
    let (Ok(a), Ok(b)) = (Value::resolve(left, context), Value::resolve(right, context)) else {
        return Ok(());
    };
    let number = |value: &Value| matches!(value, Value::Int(_) | Value::UInt(_) | Value::Float(_));
    let null = |value: &Value| matches!(value, Value::Null);
    let alike =
        std::mem::discriminant(&a) == std::mem::discriminant(&b) || number(&a) && number(&b) || null(&a) || null(&b);
    if alike {
        return Ok(());
    }
    let shown = operator.trim_matches('_');
    for (one, other, value, part) in [(&a, &b, &b, left), (&b, &a, &a, right)] {
        if matches!(one, Value::Duration(_)) && number(other) {
            let count = match value {
                Value::Int(count) => count.to_string(),
                Value::UInt(count) => count.to_string(),
                Value::Float(count) => count.to_string(),
                _ => String::new(),
            };
            let name = match written(part) {
                name if name.is_empty() => "one side".to_owned(),
                name => format!("`{name}`"),
            };
            return Err(format!("{name} is a duration: {count} what? try {count}ms"));
        }
    }
    Err(format!("`{shown}` does not take {} and {}", a.type_of(), b.type_of()))
}

/// Collects what an expression looks at by name, in its order, each once. What is inside a comprehension is different for each
/// entry and left out.
fn collect<'e>(part: &'e IdedExpr, found: &mut Vec<&'e IdedExpr>) {
    if known(part).is_some_and(|kind| !matches!(kind, Known::Table(_) | Known::Entries(_))) {
        if !found.iter().any(|other| written(other) == written(part)) {
            found.push(part);
        }
        return;
    }
    match &part.expr {
        Expr::Call(call) => {
            for inside in call.target.iter().map(AsRef::as_ref).chain(&call.args) {
                collect(inside, found);
            }
        }
        Expr::Select(select) => collect(&select.operand, found),
        Expr::List(list) => list.elements.iter().for_each(|element| collect(element, found)),
        _ => {}
    }
}

/// The value of a part that is a name; none if there is no data of it.
fn actual(part: &IdedExpr, context: &Context<'_, '_>) -> Option<Actual> {
    let value = match (known(part)?, Value::resolve(part, context).ok()?) {
        (Known::Count, Value::Int(count)) => Figure::Count(count.try_into().ok()?),
        (Known::Bytes, Value::Int(count)) => Figure::Bytes(count.try_into().ok()?),
        (Known::Number, Value::Int(number)) => Figure::Number(number),
        (Known::Ratio, Value::Float(ratio)) => Figure::Ratio(ratio),
        (Known::Time, Value::Duration(time)) => Figure::Time(time.to_std().unwrap_or(Duration::ZERO)),
        (Known::Text, Value::String(text)) => Figure::Text(text.as_ref().clone()),
        _ => return None,
    };
    Some(Actual {
        of: written(part),
        value,
    })
}

/// Which entries are to blame that an `all` or `exists` decided so; none if that was not what decided.
fn culprits(part: &IdedExpr, context: &Context<'_, '_>) -> Option<String> {
    match &part.expr {
        Expr::Call(call)
            if matches!(
                call.func_name.as_str(),
                operators::LOGICAL_AND | operators::LOGICAL_OR | operators::LOGICAL_NOT
            ) =>
        {
            call.args.iter().find_map(|inside| culprits(inside, context))
        }
        Expr::Comprehension(all) => {
            let Expr::Call(step) = &all.loop_step.expr else {
                return None;
            };
            let (decides, words) = match step.func_name.as_str() {
                operators::LOGICAL_AND => (false, "it does not hold for"),
                operators::LOGICAL_OR => (true, "it holds for"),
                _ => return None,
            };
            let asked = step.args.get(1)?;
            let Ok(range) = Value::resolve(&all.iter_range, context) else {
                return None;
            };
            let mut entries: Vec<Value> = match &range {
                Value::Map(map) => map.map.keys().map(of_key).collect(),
                Value::List(list) => list.iter().cloned().collect(),
                _ => return None,
            };
            entries.retain(|entry| {
                let mut inner = context.new_inner_scope();
                inner.add_variable_from_value(all.iter_var.as_str(), entry.clone());
                matches!(Value::resolve(asked, &inner), Ok(Value::Bool(holds)) if holds == decides)
            });
            let mut names: Vec<String> = entries
                .iter()
                .filter_map(|entry| match entry {
                    Value::String(text) => Some(text.as_ref().clone()),
                    _ => None,
                })
                .collect();
            names.sort();
            if names.is_empty() {
                return None;
            }
            let more = names.len().saturating_sub(MOST_NAMED);
            names.truncate(MOST_NAMED);
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            Some(format!("{words} {}{more}", names.join(", ")))
        }
        _ => None,
    }
}

/// What there is no data of, and why.
fn missing(looked: &[&IdedExpr], key: &str, context: &Context<'_, '_>, facts: &Facts<'_>) -> String {
    let absent = looked
        .iter()
        .find(|part| matches!(Value::resolve(part, context), Err(ExecutionError::NoSuchKey(_))));
    let Some(part) = absent else {
        return format!("no data: there is no `{key}`");
    };
    let name = written(part);
    let mut entry = *part;
    // From the end of the name to its beginning, to the first part that is there.
    loop {
        let operand = match &entry.expr {
            Expr::Select(select) => &*select.operand,
            Expr::Call(call) if call.func_name == operators::INDEX => &call.args[0],
            _ => break,
        };
        if Value::resolve(operand, context).is_ok() {
            break;
        }
        entry = operand;
    }
    let (of, entry_name) = match &entry.expr {
        Expr::Select(select) => (written(&select.operand), Some(select.field.as_str())),
        Expr::Call(call) => (written(&call.args[0]), text(&call.args[1])),
        _ => (String::new(), None),
    };
    let tunnels = match facts.traffic.tunnels.total {
        0 => String::new(),
        1 => "; of the one tunnel amb cannot see what was in it".to_owned(),
        tunnels => format!("; of the {tunnels} tunnels amb cannot see what was in them"),
    };
    let why = match (of.as_str(), entry_name) {
        ("hosts", Some(host)) => format!("nothing was sent to {host}"),
        ("routes", Some(route)) => format!("nothing went by {route}"),
        ("replay", _) => "nothing is replayed".to_owned(),
        ("child", _) if facts.child.is_some_and(|child| child.outcome == ChildOutcome::Absent) => {
            "there is no command".to_owned()
        }
        ("child", Some("exit_code")) if facts.child.is_some() => "a signal ended the command".to_owned(),
        ("child", _) if facts.child.is_some() => "no signal ended the command".to_owned(),
        ("child", _) => "the command still runs".to_owned(),
        (_, Some("failed_ratio")) => format!("there was no request{tunnels}"),
        (of, _) if of.ends_with("latency") => format!("no request was answered{tunnels}"),
        _ => format!("there is no `{key}`"),
    };
    format!("no data for {name}: {why}")
}
