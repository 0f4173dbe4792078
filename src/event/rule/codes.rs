//! Machine-readable codes of validators → rule.

/// The rule a code names; `None` where it names none for sure.
///
/// Codes are compared without case and separators: `value_error.missing`, `ValueErrorMissing` and `VALUE-ERROR-MISSING` are
/// one. A code says no limits, so `string_too_short` is `min_length`.
pub(super) fn rule(code: &str) -> Option<&'static str> {
    if code.is_empty() || code.len() > super::super::body::MAX_CODE {
        return None;
    }
    let squashed: String =
        code.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect();
    Some(match squashed.as_str() {
        // Django REST Framework, Rails, GitHub, Bean Validation, Joi, pydantic 1 and 2, Ajv, Stripe
        "required"
        | "missing"
        | "valueerrormissing"
        | "anyrequired"
        | "missingfield"
        | "parametermissing"
        | "notprovided"
        | "isdefined"
        | "missingrequired"
        | "missingrequiredfield"
        | "missingparameter" => "required",
        "blank" | "empty" | "notblank" | "notempty" | "isnotempty" | "stringempty" | "parameterinvalidempty" => "blank",
        "null" | "notnull" | "nonenotallowed" | "isnull" | "typeerrornonenotallowed" => "null",
        "unique"
        | "taken"
        | "alreadyexists"
        | "duplicate"
        | "uniqueitems"
        | "uniquetogether"
        | "resourcealreadyexists"
        | "conflictunique" => "unique",
        "invalidchoice" | "enum" | "inclusion" | "exclusion" | "anyonly" | "invalidenumvalue" | "literalerror"
        | "isenum" | "isin" | "invalidoption" | "typeerrorenum" | "valueerrorconst" | "const" | "invalidliteral" => {
            "invalid_choice"
        }
        "doesnotexist" | "notfound" | "resourcemissing" | "objectnotfound" => "not_found",
        "stringtooshort"
        | "minlength"
        | "tooshort"
        | "stringmin"
        | "valueerroranystrminlength"
        | "passwordtooshort" => "min_length",
        "stringtoolong" | "maxlength" | "toolong" | "stringmax" | "valueerroranystrmaxlength" => "max_length",
        "minvalue"
        | "min"
        | "minimum"
        | "greaterthanequal"
        | "numbermin"
        | "valueerrornumbernotge"
        | "greaterthanorequalto" => "min_value",
        "maxvalue"
        | "max"
        | "maximum"
        | "lessthanequal"
        | "numbermax"
        | "valueerrornumbernotle"
        | "lessthanorequalto" => "max_value",
        "positive" | "ispositive" | "numberpositive" => "positive",
        "minitems" | "arraymin" | "arrayminsize" | "valueerrorlistminitems" => "min_items",
        "maxitems" | "arraymax" | "arraymaxsize" | "valueerrorlistmaxitems" => "max_items",
        "maxdigits" | "decimalmaxdigits" => "max_digits",
        "maxdecimalplaces" | "decimalmaxplaces" => "max_decimals",
        "stringtype" | "stringbase" | "isstring" | "typeerrorstr" => "invalid_type(string)",
        "inttype" | "intparsing" | "intfromfloat" | "isint" | "numberinteger" | "typeerrorinteger" | "notaninteger" => {
            "invalid_type(integer)"
        }
        "floattype" | "floatparsing" | "decimaltype" | "decimalparsing" | "numberbase" | "isnumber"
        | "typeerrorfloat" | "notanumber" => "invalid_type(number)",
        "booltype" | "boolparsing" | "booleanbase" | "isboolean" | "valueerrorboolean" => "invalid_type(boolean)",
        "listtype" | "arraybase" | "isarray" | "notalist" | "typeerrorlist" => "invalid_type(list)",
        "dicttype" | "objectbase" | "isobject" | "notadict" | "typeerrordict" | "modeltype" => "invalid_type(object)",
        "type" | "invalidtype" | "incorrecttype" | "typemismatch" => "invalid_type",
        "format"
        | "pattern"
        | "email"
        | "url"
        | "uuid"
        | "isemail"
        | "isurl"
        | "isuuid"
        | "stringemail"
        | "invalidstring"
        | "stringpatternmismatch"
        | "stringpatternbase"
        | "invalidformat"
        | "uuidparsing"
        | "dateparsing"
        | "datetimeparsing"
        | "datefromdatetimeparsing"
        | "urlparsing"
        | "valueerroremail"
        | "invaliddate"
        | "matches"
        | "isdatestring"
        | "invalidemail"
        | "invalidurl"
        | "jsoninvalid"
        | "nullcharactersnotallowed" => "invalid_format",
        "extraforbidden"
        | "valueerrorextra"
        | "unrecognizedkeys"
        | "additionalproperties"
        | "objectunknown"
        | "whitelistvalidation"
        | "parameterunknown"
        | "unknownfield" => "unknown_field",
        "readonly" => "read_only",
        "confirmation" | "mismatch" | "passwordmismatch" => "mismatch",
        "permissiondenied" | "forbidden" | "notauthorized" => "permission",
        "throttled" | "ratelimited" | "ratelimit" | "ratelimitexceeded" => "rate_limited",
        "invalidcredentials" | "authenticationfailed" | "notauthenticated" | "invalidapikey" => "credentials",
        "expired" | "tokenexpired" => "expired",
        "insufficientfunds" | "insufficientcredits" | "insufficientquota" => "insufficient",
        "passwordtoocommon" | "passwordentirelynumeric" | "passwordtoosimilar" => "weak",
        "invalid" | "custom" | "valueerror" => "invalid",
        _ => return None,
    })
}
