//! Conditions made lean. Cedar's evaluator works out a set or a network anew each time it comes by; here they are worked
//! out once, when the settings are read, and stand in the context under names that no policy can use: the schema has no
//! such attributes.

use std::collections::HashMap;

use cedar_policy_core::ast::{Context, EntityUID, EntityUIDEntry, Expr, ExprKind, Request, Value, Var};
use cedar_policy_core::entities::Entities;
use cedar_policy_core::evaluator::Evaluator;
use cedar_policy_core::extensions::Extensions;
use smol_str::{SmolStr, format_smolstr};

/// Collects constants.
#[derive(Default)]
pub(crate) struct Folder {
    values: Vec<(SmolStr, Value)>,
}

/// A copy of the whole expression without places, with constants by their names.
impl Folder {
    /// Folds an expression; the numbers of its constants are added to `used`.
    ///
    /// # Errors
    /// A constant that cannot be worked out.
    pub(crate) fn fold(&mut self, expr: &Expr, used: &mut Vec<u16>) -> Result<Expr, String> {
        if worth(expr) && constant(expr) {
            let number = self.constant(evaluate(expr)?)?;
            used.push(number);
            let name = self.values.get(usize::from(number)).map(|(name, _)| name.clone()).unwrap_or_default();
            return Ok(Expr::get_attr(Expr::var(Var::Context), name));
        }
        let mut go = |part: &Expr| self.fold(part, used);
        Ok(match expr.expr_kind() {
            ExprKind::Lit(literal) => Expr::val(literal.clone()),
            ExprKind::Var(var) => Expr::var(*var),
            ExprKind::If { test_expr, then_expr, else_expr } => {
                Expr::ite(go(test_expr)?, go(then_expr)?, go(else_expr)?)
            }
            ExprKind::And { left, right } => Expr::and(go(left)?, go(right)?),
            ExprKind::Or { left, right } => Expr::or(go(left)?, go(right)?),
            ExprKind::UnaryApp { op, arg } => Expr::unary_app(*op, go(arg)?),
            ExprKind::BinaryApp { op, arg1, arg2 } => Expr::binary_app(*op, go(arg1)?, go(arg2)?),
            ExprKind::ExtensionFunctionApp { fn_name, args } => {
                let args = args.iter().map(go).collect::<Result<Vec<_>, _>>()?;
                Expr::call_extension_fn(fn_name.clone(), args)
            }
            ExprKind::GetAttr { expr, attr } => Expr::get_attr(go(expr)?, attr.clone()),
            ExprKind::HasAttr { expr, attr } => Expr::has_attr(go(expr)?, attr.clone()),
            ExprKind::ExtHasAttr { expr, attrs } => Expr::extended_has_attr(go(expr)?, attrs.clone()),
            ExprKind::Like { expr, pattern } => Expr::like(go(expr)?, pattern.clone()),
            ExprKind::Is { expr, entity_type } => Expr::is_entity_type(go(expr)?, entity_type.clone()),
            ExprKind::Set(items) => Expr::set(items.iter().map(go).collect::<Result<Vec<_>, _>>()?),
            ExprKind::Record(fields) => {
                let fields = fields.iter().map(|(name, field)| Ok((name.clone(), go(field)?)));
                Expr::record(fields.collect::<Result<Vec<_>, String>>()?).map_err(|error| error.to_string())?
            }
            ExprKind::Slot(_) | ExprKind::Unknown(_) => return Err("this cannot be used here".to_owned()),
        })
    }

    /// The constants, with their names.
    pub(crate) fn constants(self) -> Vec<(SmolStr, Value)> {
        self.values
    }

    fn constant(&mut self, value: Value) -> Result<u16, String> {
        let at = match self.values.iter().position(|(_, known)| *known == value) {
            Some(at) => at,
            None => {
                // The digit first: no policy can name it without quotes, and with quotes the schema does not know it.
                self.values.push((format_smolstr!("{}", self.values.len()), value));
                self.values.len() - 1
            }
        };
        u16::try_from(at).map_err(|_| "there are too many different sets and networks".to_owned())
    }
}

/// What takes work each time.
fn worth(expr: &Expr) -> bool {
    matches!(expr.expr_kind(), ExprKind::Set(_) | ExprKind::ExtensionFunctionApp { .. })
}

/// Whether there is nothing in it that depends on the request.
fn constant(expr: &Expr) -> bool {
    expr.subexpressions().all(|part| {
        matches!(
            part.expr_kind(),
            ExprKind::Lit(_) | ExprKind::Set(_) | ExprKind::Record(_) | ExprKind::ExtensionFunctionApp { .. }
        )
    })
}

fn evaluate(expr: &Expr) -> Result<Value, String> {
    let nobody = EntityUID::with_eid_and_type("User", "nobody").map_err(|error| error.to_string())?;
    let entry = || EntityUIDEntry::known(nobody.clone(), None);
    let request = Request::new_unchecked(entry(), entry(), entry(), Some(Context::empty()));
    let entities = Entities::new();
    let value = Evaluator::new(request, &entities, Extensions::all_available()).interpret(expr, &HashMap::new());
    value.map(|value| value.with_maybe_source_loc(None)).map_err(|error| error.to_string())
}
