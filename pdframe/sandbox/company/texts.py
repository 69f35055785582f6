"""The names, labels and texts of a company: plain ones, and a layer of hostile ones over them.

What happens in a company draws as often whichever texts it has: `pick` takes one number for a list
of any length. So deals, times and amounts of a seed are the same with all texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from types import MappingProxyType
from unicodedata import normalize

from . import hostile
from .custom_fields import COMPETITORS, PLANS, Plan
from .fields import Options

__all__ = ["TEXTS", "Texts"]

_EPOCH = date(1970, 1, 1)


def _ascii(text: str) -> str:
    """Return a text as an address on the internet holds it."""
    plain = normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return "-".join("".join(c if c.isalnum() else " " for c in plain.replace("'", "")).split())


class Texts:
    """The texts of an ordinary customer: labels are unique, names are ordinary, lost reasons are
    the only thing that is spelt in two ways.

    Attributes
    ----------
    domain
        What the company's domain begins with, which names its cache.
    plans
        Custom fields by entity; every layer has the same kinds and shares in the same order, and
        may add fields without a share.
    standard_options
        Options of standard fields that replace the usual ones.
    removes_options
        Whether the administrator removes options that deals still hold; else no deal chooses them
        any more.
    """

    domain = "showcase"
    plans: Mapping[str, tuple[Plan, ...]] = PLANS
    standard_options: Options = MappingProxyType({})
    removes_options = False
    user_names: Mapping[int, str] = MappingProxyType({})
    product_names: Mapping[str, str] = MappingProxyType({})
    competitors: Sequence[str] = (
        *COMPETITORS,
        "Pipeworks",
        "Leadmill",
        "Dealbird",
        "Quotely",
        "Closerly",
        "Orbit CRM",
        "Fieldnote",
        "Salescope",
    )
    company_ending = ""
    status_ending = ""
    use_cases: Sequence[str] = ("Use case",)
    # As often as each is chosen; three are typed in two ways.
    lost_reasons: Sequence[str] = (
        *("Price", "Price", "Price", "Price", "price"),
        *("Chose a competitor", "Chose a competitor", "Chose a competitor"),
        *("Went silent", "Went silent", "went silent"),
        *("No budget", "No budget", "No Budget"),
        *("No decision", "No decision"),
        "Missing feature",
        "Timing",
    )
    first_names: Sequence[Sequence[str]] = (
        (
            *(
                "Mari",
                "Jaan",
                "Liina",
                "Rasmus",
                "Kaisa",
                "Mikko",
                "Aino",
                "Ville",
                "Sofia",
                "Erik",
            ),
            *("Astrid", "Lars", "Ingrid", "Jonas", "Freja", "Emil", "Ieva", "Tomas", "Linnea"),
        ),
        (
            *("Lukas", "Anna", "Felix", "Hannah", "Jürgen", "Sabine", "Matthias", "Claudia"),
            *("Stefan", "Katrin", "Florian", "Lena", "Ahmet", "Elif", "Marco", "Nina", "Urs"),
        ),
        (
            *("Oliver", "Emma", "Harry", "Sophie", "Seán", "Aoife", "Priya", "James", "Chloé"),
            *("Mohammed", "Charlotte", "Declan", "Zoë", "Thomas", "Grace", "Arjun", "Niamh"),
        ),
        (
            *("Emily", "Michael", "Ashley", "David", "Maria", "Carlos", "Yuki", "Daniel", "Olivia"),
            *("Kevin", "Mei", "Andrew", "Isabella", "Noah", "Rachel", "Jamal", "Amélie"),
        ),
    )
    last_names: Sequence[Sequence[str]] = (
        (
            *("Mägi", "Tamm", "Kask", "Saar", "Korhonen", "Virtanen", "Nieminen", "Lindqvist"),
            *("Johansson", "Nilsson", "Berg", "Hansen", "Nordahl", "Larsen", "Kalnins", "Ozols"),
            *("Petrauskas", "Koppel", "Rebane", "Heikkinen", "Dahl", "Andersen"),
        ),
        (
            *("Schmidt", "Müller", "Weber", "Fischer", "Hoffmann", "Becker", "Schäfer", "Koch"),
            *("Wagner", "Huber", "Gruber", "Steiner", "Meier", "Keller", "Baumann", "Yilmaz"),
            *("Vogel", "Krüger", "Brunner", "Lehmann", "Winkler", "Frei"),
        ),
        (
            *("Jones", "Smith", "Taylor", "Brown", "Patel", "O'Neill", "Murphy", "Walker"),
            *("Hughes", "Khan", "Byrne", "Campbell", "Stewart", "Evans", "Shah", "Wright"),
            *("Kelly", "Robinson", "Dubois", "Clarke", "Singh", "Doyle"),
        ),
        (
            *("Johnson", "Williams", "Garcia", "Miller", "Davis", "Martinez", "Lee", "Tremblay"),
            *("Nguyen", "Anderson", "Rossi", "Cohen", "Tanaka", "Chen", "Moore", "Thompson"),
            *("Reyes", "Nelson", "Carter", "Park", "Rivera", "Bennett"),
        ),
    )
    org_heads: Sequence[Sequence[str]] = (
        (
            *("Nordmark", "Baltic", "Kivi", "Polar", "Saare", "Aurora", "Fjord", "Lumi"),
            *("Tammer", "Viru", "Sund", "Vega", "Skagen", "Harju", "Boreal", "Amber"),
            *("Daugava", "Neris", "Birka", "Salme", "Tuuli", "Malmhus", "Uppland", "Hiiu"),
        ),
        (
            *("Stein", "Rhein", "Alpen", "Isar", "Adler", "Linden", "Weser", "Bergmann"),
            *("Kellermann", "Donau", "Falken", "Neckar", "Hanse", "Lech", "Brenner", "Elbe"),
            *("Spree", "Tauber", "Säntis", "Salzach", "Arlberg", "Taunus", "Eifel", "Havel"),
        ),
        (
            *("Thames", "Severn", "Ashdown", "Kestrel", "Harbour", "Wexford", "Albion", "Pennine"),
            *("Camden", "Lothian", "Shannon", "Oakfield", "Kingsley", "Mersey", "Avon", "Clyde"),
            *("Dunmore", "Fenwick", "Liffey", "Marlow", "Norwood", "Rowan", "Tyne", "Whitby"),
        ),
        (
            *("Lonestar", "Cascade", "Summit", "Prairie", "Hudson", "Pioneer", "Maple", "Redwood"),
            *("Bayside", "Granite", "Liberty", "Juniper", "Keystone", "Lakeshore", "Mesa"),
            *("Sierra", "Aspen", "Beacon", "Cypress", "Dakota", "Evergreen", "Ontario"),
        ),
    )
    org_middles: Sequence[str] = (
        *("Software", "Logistics", "Foods", "Metal", "Health", "Finance", "Retail", "Energy"),
        *("Design", "Print", "Trade", "Motors", "Media", "Labs", "Systems", "Consulting"),
        *("Packaging", "Robotics", "Textiles", "Timber", "Marine", "Optics", "Telecom"),
        *("Insurance", "Travel", "Education", "Pharma", "Plastics", "Furniture", "Engineering"),
        *("Analytics", "Security"),
    )
    org_tails: Sequence[Sequence[str]] = (
        ("OÜ", "AS", "Oy", "AB"),
        ("GmbH", "AG", "KG"),
        ("Ltd", "plc", "LLP"),
        ("Inc.", "LLC", "Corp."),
    )
    _towns: Sequence[Sequence[str]] = (
        ("Tallinn", "Helsinki", "Riga", "Stockholm", "Vilnius", "Tartu"),
        ("Berlin", "Vienna", "Zurich", "Hamburg", "Munich", "Graz"),
        ("London", "Dublin", "Leeds", "Edinburgh", "Cork", "Bristol"),
        ("Boston", "Austin", "Toronto", "Denver", "Seattle", "Chicago"),
    )
    enquiry = "Website enquiry"
    odd_titles: Sequence[str] = (
        "Request from the pricing page",
        "Recommended by a customer",
        "Trade fair, hall 4",
        "Call back requested",
        "Webinar attendee",
        "Partner lead",
        "Tender, first round",
        "Trial account, 20 seats",
        "Chat conversation",
        "Newsletter reply",
    )
    title_words: Mapping[str, str] = {
        "new": "deal",
        "renewal": "renewal",
        "expansion": "more seats",
        "contraction": "fewer seats",
        "win-back": "win-back",
        "services": "services",
    }
    channel_ids: Sequence[str] = ("trade-fair", "spring-webinar", "partner-portal")
    subjects: Mapping[str, Sequence[str]] = {
        "call": ("Call back", "Intro call", "Follow up"),
        "meeting": ("Meeting", "On-site visit"),
        "email": ("Send the offer", "Answer on prices"),
        "task": ("Prepare the quote",),
        "demo": ("Demo", "Second demo, with IT"),
        "lunch": ("Lunch",),
        "deadline": ("Tender closes",),
    }
    durations: Sequence[str] = ("00:15:00", "00:30:00", "01:00:00", "01:30:00", "02:00:00")
    activity_notes: Sequence[str] = ("Asked for 10 % off", "Wants references", "Speak to IT first")
    person_note = "Met at the trade fair"
    later_jobs: Sequence[str] = ("CEO", "COO", "Interim manager", "Retired")

    def user_email(self, user: int, name: str) -> str:
        """Return the address of a user."""
        first, _, last = name.partition(" ")
        return self.email(first, last, user, "kaskaad")

    def email(self, first: str, last: str, key: int, slug: str) -> str:
        """Return the address of a person whose organization has this slug."""
        return f"{_ascii(first)}.{_ascii(last)}@{slug}.example"

    def org_name(self, head: str, middle: str, tail: str, region: int, namesakes: int) -> str:
        """Return the name of an organization, when a number of them have the same parts already."""
        towns = self._towns[region]
        town = f" {towns[(namesakes - 1) % len(towns)]}" if namesakes else ""
        number = f" {1 + namesakes // len(towns)}" if namesakes > len(towns) else ""
        return f"{head} {middle}{town}{number} {tail}"

    def slug(self, name: str) -> str:
        """Return what the internet domain of an organization begins with."""
        return "-".join(_ascii(name).split("-")[:2])

    def title(self, name: str, kind: str, day: int, dated: bool) -> str:
        """Return the title of a deal with this customer, created on a day since 1970."""
        words = self.title_words[kind]
        if not dated:
            return f"{name} {words}"
        created = _EPOCH + timedelta(days=day)
        return f"{name} {words} {created.year} Q{(created.month + 2) // 3}"

    def joined(self, first: str, last: str, split: bool) -> str:
        """Return two words as one text, another one for any other words or split."""
        if first == last:
            return f"{first}." if split else first
        return f"{first}. {last}" if split else f"{first}, {last[0].lower()}{last[1:]}"


class _Hostile(Texts):
    """Texts that hurt, over the plain ones."""

    domain = "sandbox"
    plans = hostile.plans(PLANS)
    standard_options = hostile.STANDARD_OPTIONS
    removes_options = True
    user_names: Mapping[int, str] = {1031: "Елена Соколова", 1033: "Kenji 山田"}
    product_names = hostile.PRODUCT_NAMES
    competitors = COMPETITORS
    company_ending = " Inc."
    status_ending = " (till next quarter)"
    use_cases = ("Use case", "Use case (2025)", "Primary use case", "Use-Case")
    lost_reasons = hostile.LOST_REASONS
    first_names = (hostile.FIRST_NAMES,) * 4
    last_names = (hostile.LAST_NAMES,) * 4
    org_heads = (hostile.ORG_HEADS,) * 4
    org_middles = hostile.ORG_MIDDLES
    org_tails = (
        ("OÜ", "AS", "Oy", "AB"),
        ("GmbH", "AG", "& Co. KG"),
        ("Ltd", "plc", "LLP"),
        ("Inc.", "LLC", "Corp."),
    )
    enquiry = "Enquiry"
    odd_titles = hostile.ODD_TITLES
    title_words: Mapping[str, str] = {
        "new": "deal",
        "renewal": "renewal",
        "expansion": "more seats",
        "contraction": "downsizing",
        "win-back": "come back",
        "services": "services",
    }
    channel_ids = ("Jun23 Billboards", "spring/webinar", "partner:Åland")
    subjects: Mapping[str, Sequence[str]] = {
        **Texts.subjects,
        "call": ("Call back", "Intro call", "Follow up ☎️"),
        "email": ("Send the offer", 'Re: "prices"'),
    }
    durations = (*Texts.durations[:4], "26:00:00")
    activity_notes = (
        "Asked for 10 % off",
        "<p>Wants <b>references</b></p>",
        "Räägi Mariga\nja siis uuesti",
    )
    person_note = "Met at the fair.\nLikes coffee."
    later_jobs = ("CEO", "COO", "Interim manager", "Retired 🎣")

    def user_email(self, user: int, name: str) -> str:
        return f"user{user}@kaskaad.example"

    def email(self, first: str, last: str, key: int, slug: str) -> str:
        return f"p{key}@{slug}.example"

    def org_name(self, head: str, middle: str, tail: str, region: int, namesakes: int) -> str:
        return f"{head}{middle} {tail}"

    def slug(self, name: str) -> str:
        return name.split(" ")[0].lower()

    def title(self, name: str, kind: str, day: int, dated: bool) -> str:
        words = self.title_words[kind]
        return f"{name} – {words} {day % 1000}" if dated else f"{name} {words}"

    def joined(self, first: str, last: str, split: bool) -> str:
        return f"{first}{chr(10) if split else ' - '}{last}"


TEXTS: Mapping[str, Texts] = {"hostile": _Hostile(), "showcase": Texts()}
