"""Constants of the generated tables: products, accounts, agents, and the effect of each on the win probability."""

from itertools import cycle, product

PRODUCTS = [
    {"product": "GTX Basic", "series": "GTX", "sales_price": 550},
    {"product": "GTX Pro", "series": "GTX", "sales_price": 4821},
    {"product": "MG Special", "series": "MG", "sales_price": 55},
    {"product": "MG Advanced", "series": "MG", "sales_price": 3393},
    {"product": "GTX Plus Pro", "series": "GTX", "sales_price": 5482},
    {"product": "GTX Plus Basic", "series": "GTX", "sales_price": 1096},
    {"product": "GTK 500", "series": "GTK", "sales_price": 26768},
]
LIST_PRICE = {str(row["product"]): float(str(row["sales_price"])) for row in PRODUCTS}
# The sales desk writes this product without its space; the price list does not. The `spelling` check finds it.
MISSPELT_PRODUCTS = {"GTX Pro": "GTXPro"}
DEMAND = {
    "GTX Basic": 21.0,
    "GTX Pro": 17.0,
    "MG Special": 19.0,
    "MG Advanced": 16.0,
    "GTX Plus Pro": 11.0,
    "GTX Plus Basic": 15.5,
    "GTK 500": 0.5,
}
APPEAL = {  # log-odds
    "GTX Basic": 0.1,
    "GTX Pro": 0.0,
    "MG Special": 0.35,
    "MG Advanced": -0.4,
    "GTX Plus Pro": 0.2,
    "GTX Plus Basic": -0.1,
    "GTK 500": -0.8,
}

SECTORS = {  # relative frequency; misspelled like in the real tables
    "retail": 17.0,
    "technolgy": 12.0,
    "medical": 12.0,
    "marketing": 8.0,
    "finance": 8.0,
    "software": 7.0,
    "entertainment": 6.0,
    "telecommunications": 6.0,
    "services": 5.0,
    "employment": 4.0,
}
FIT = {  # log-odds
    "retail": 0.3,
    "technolgy": 0.6,
    "medical": -0.2,
    "marketing": 0.4,
    "finance": -0.7,
    "software": 0.5,
    "entertainment": 0.0,
    "telecommunications": -0.5,
    "services": -0.3,
    "employment": 0.2,
}
OFFICES = [
    "United States",
    "Kenya",
    "Philipines",
    "Japan",
    "Italy",
    "Norway",
    "Korea",
    "Jordan",
    "Brazil",
    "Germany",
    "Panama",
    "Belgium",
    "Romania",
    "Poland",
    "China",
]

# fmt: off
_STEMS = [
    "Alder", "Briar", "Cobalt", "Dover", "Elm", "Fjord", "Garnet", "Harbour", "Indigo",
    "Juniper", "Kestrel", "Linden", "Meridian", "Nimbus", "Opal", "Pinnacle", "Quarry",
]
_ENDINGS = ["Works", "Systems", "Group", "Logistics", "Partners"]
_FIRST = [
    "Ada", "Bruno", "Clara", "Dmitri", "Edith", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Katya", "Leon", "Maeve",
    "Nils", "Olga", "Pablo", "Quinn", "Rosa", "Stefan", "Tessa", "Umar", "Vera", "Wanda", "Xavier", "Yara", "Zeno",
    "Anouk", "Basil", "Celia", "Dario", "Esther", "Felix", "Gina", "Henrik", "Iris",
]
_LAST = [
    "Abbott", "Brandt", "Castell", "Duarte", "Ekman", "Falk", "Gruber", "Hale", "Ivers", "Janssen", "Keller",
    "Lindqvist", "Moreau", "Novak", "Orlov",
]
# fmt: on
ACCOUNTS = [f"{stem} {ending}" for ending, stem in product(_ENDINGS, _STEMS)]
_MANAGERS = cycle(
    [
        ("Marta Ruiz", "Central"),
        ("Owen Pryce", "Central"),
        ("Lena Vogel", "East"),
        ("Samir Haddad", "East"),
        ("Nora Byrne", "West"),
        ("Viktor Toth", "West"),
    ]
)
TEAMS = [
    {"sales_agent": f"{first} {last}", "manager": manager, "regional_office": office}
    for first, last, (manager, office) in zip(_FIRST, cycle(_LAST), _MANAGERS, strict=False)
]
# The last five agents have no deals, for the check `agents-have-deals`.
SELLERS = [team["sales_agent"] for team in TEAMS[:30]]
