"""Words of fashion: what product names and captions call patterns, fabrics, cuts and details.

An entry is a phrase as it is found, hyphens or not, or `found = said`; `parse` makes the tables.
"""

from __future__ import annotations

# slot -> entries.  Slots stand in the order of an English noun phrase, the colour between "build"
# and "work"; those after "shape" follow the noun ("with a V-neck").
ENTRIES = {
    "style": """
        basic, boho, classic, minimalist, modernist = modern, retro, sleek, sporty, vintage,
        western inspired = Western-inspired, tuxedo inspired = tuxedo-inspired, nautical, elegant,
        casual, formal, plain, solid = plain
    """,
    "weight": """
        chunky, cozy, soft, soft knit = soft knit, lightweight, semi sheer = semi-sheer, sheer,
        sheer woven = sheer, gauzy, fuzzy, shaggy, shag = shaggy, stretchy, puffy, slinky
    """,
    "fit": """
        boxy, oversized, slouchy, relaxed, loose, loose fitting = loose-fitting, fitted, slim,
        slim fit = slim-fit, structured, tailored, cropped, crop = cropped, longline, drapey,
        flowy, asymmetric = asymmetrical, asymmetrical, high low = high-low, knee length =
        knee-length, ankle length = ankle-length, floor length = floor-length, reversible,
        convertible, two piece = two-piece
    """,
    "build": """
        hooded, belted, collared, collarless, open front = open-front, double breasted =
        double-breasted, single breasted = single-breasted, single button = single-button, one
        button = one-button, two button = two-button, three button = three-button, button down =
        button-down, button up = button-up, button front = button-front, buttoned = button-front,
        buttoned front = button-front, snap button = snap-button, zip up = zip-up, zip front =
        zip-front, lace up = lace-up, self tie = self-tie, tie front = tie-front, tie waist =
        tie-waist, bow front = bow-front, knot front = knot-front, twist front = twist-front,
        split front = split-front, draped front = draped-front, drape front = draped-front,
        pleated front = pleat-front, cutout front = cutout-front, backless, open back = open-back,
        laced = lace-up, off the shoulder = off-the-shoulder, off shoulder = off-the-shoulder, one
        shoulder = one-shoulder, open shoulder = open-shoulder, cold shoulder = cold-shoulder,
        strapless, strappy, drop waist = drop-waist, empire waist = empire-waist, high waisted =
        high-waisted, wide leg = wide-leg, high slit = high-slit, side slit = side-slit, m slit =
        side-slit, side tie = side-tie, zipped = zip-up, popover, high neck = high-neck
    """,
    "work": """
        accordion pleated = accordion-pleated, beaded, bead embellished = beaded, bead embroidered
        = beaded, embroidered bead = beaded, bejeweled, belt = belted, box pleated = box-pleated,
        braided, cuffed, cutout, cut out = cutout, caged, crisscross, distressed, destroyed =
        distressed, draped, cascading, embellished, embroidered, embroidery = embroidered,
        flounced, fluted, fluttered, flutter, fringed, gathered, gem embellished =
        gem-embellished, knotted, twisted, laser cut = laser-cut, layered, tiered, perforated,
        pintucked, pintuck = pintucked, pleated, pleat = pleated, pleats = pleated, quilted, raw
        cut = raw-edged, raw edge = raw-edged, raw edged = raw-edged, rhinestone embellished =
        rhinestone-embellished, rhinestone = rhinestone-embellished, rolled edge = rolled-edge,
        ruched, ruffled, ruffle = ruffled, scalloped, sequined, sequin = sequined, shirred,
        shredded, smocked, studded, tasseled, tassel = tasseled, tufted, vented, wrinkled =
        crinkled, zippered, zipper = zippered, darted, seamed, baroque sequined =
        baroque-sequined, ornate crocheted = ornate crochet, chevron quilted = chevron-quilted,
        abstract quilted = quilted, crossover, appliqued, applique = appliqued, patchwork, piped,
        patched
    """,
    "texture": """
        brushed, burnout, coated, crinkled, crinkle = crinkled, embossed, baroque embossed =
        baroque-embossed, flecked, glitter = glittery, heathered, heather = heathered, marled,
        mineral wash = mineral-washed, acid wash = acid-wash, clean wash = clean-wash, acid washed
        = acid-wash, stone washed = stonewashed, washed, faded, bleached, bleach = bleached,
        metallic, metallic threaded = metallic-threaded, metallic woven = metallic, holographic,
        nubby, pebbled, popcorn textured = popcorn-textured, ribbed, rib = ribbed, shimmering,
        shiny, slub, space dye = space-dyed, space dyed = space-dyed, speckled, sparkling,
        stretch, textured, waffle textured = waffle-textured, texture striped = texture-striped,
        purl stitched = purl-stitched, seamless, netted, tonal
    """,
    "pattern": """
        abstract = abstract-print, abstract floral, abstract floral print = abstract floral,
        abstract stripe = abstract striped, abstract striped, abstract dot = abstract dotted,
        abstract geo = abstract geometric, abstract plaid, watercolor floral, watercolor floral
        print = watercolor floral, tropical floral, tropical floral print = tropical floral,
        paisley floral, tribal stripe = tribal striped, ditsy floral, ditsy floral print = ditsy
        floral, retro floral, allover print = all-over-print, animal = animal-print, argyle,
        aztec, baroque = baroque-print, breton = Breton-striped, breton stripe = Breton-striped,
        camo = camouflage, camouflage, checked, check = checked, checkered, check patterned =
        checked, check print = checked, chevron, colorblock = color-block, colorblocked =
        color-block, color block = color-block, colorblock striped = color-block striped, colour
        block = color-block, crosshatch, damask, diamond = diamond-patterned, dip dye = dip-dyed,
        dip dyed = dip-dyed, dot = dotted, dots = dotted, dotted, dot print = dotted, dot
        patterned = dotted, duo stripe = striped, fair isle = Fair Isle, floral, floral print =
        floral, floral patterned = floral, flowered = floral, flowers = floral, flower print =
        floral, foulard = foulard-print, geo = geometric, geometric, geo print = geometric-print,
        gingham, glen plaid = glen-plaid, glen x plaid = glen-plaid, graphic, graphic print =
        graphic, grid = grid-patterned, herringbone, houndstooth, ikat, leopard = leopard-print,
        mandala = mandala-print, medallion = medallion-print, micro stripe = micro-striped,
        mirrored = mirror-print, mosaic = mosaic-print, multi stripe = multi-striped, ombre,
        ornate, paisley, pattern = patterned, patterned, pinstripe = pinstriped, pinstriped,
        plaid, polka dot = polka-dot, polka dots = polka-dot, print = printed, printed, prints =
        printed, slim striped = thin-striped, snakeskin = snakeskin-print, southwestern =
        southwestern-print, speckle = speckled, spotted, spots = spotted, stripe = striped,
        stripes = striped, striped, tartan, tartan plaid = tartan, tie dye = tie-dye, tie dyed =
        tie-dye, tile = tile-print, tribal = tribal-print, tropical = tropical-print, two tone =
        two-tone, vertical stripe = vertical-striped, vertical striped = vertical-striped,
        watercolor = watercolor-print, windowpane = windowpane-check, zebra = zebra-print, zigzag,
        heart shaped = heart-print, american flag = American-flag-print, tri colored =
        color-block, ink blot = inkblot-print, paint splatter = paint-splatter, splatter =
        splatter-print, splattered = splatter-print, bleach splatter = bleach-splatter,
        brushstroke = brushstroke-print, swirl = swirl-print, squiggle = squiggle-print,
        kaleidoscope = kaleidoscope-print, kaleidoscopic = kaleidoscope-print, star spangled =
        star-print, americana, polka = polka-dot, stripe trim = stripe-trimmed, multi striped =
        multi-striped, stripe print = striped, stripe patterned = striped, striped print = striped
    """,
    "fabric": """
        boucle, brocade, burlap, canvas, cashmere, chambray, chantilly lace = Chantilly lace,
        chenille, chiffon, corduroy, cotton, cotton blend = cotton-blend, cotton twill, crepe,
        crepe de chine, crepe woven = crepe, crochet, crocheted = crochet, crotchet = crochet,
        crochet lace, denim, embroidered mesh = embroidered mesh, embroidered organza =
        embroidered organza, embroidered lace = embroidered lace, eyelash lace = eyelash lace,
        eyelash knit = eyelash knit, eyelet, faux fur, faux leather, vegan leather = faux leather,
        faux shearling, faux suede, faux suede leather = faux suede, fishnet, flannel, fleece,
        french terry = French terry, gauze, georgette, interlock, jacquard, jersey, jersey knit,
        knit, knitted = knit, lace, lacy = lace, leather, linen, linen blend = linen-blend, linen
        knit, lurex, lyocell, mesh, modal, modal blend = modal-blend, mohair, neoprene, net,
        nylon, open knit = open-knit, open mesh = open-mesh, open crochet = open crochet, loose
        knit = loose-knit, loop knit = loop-knit, cable knit = cable-knit, multi knit =
        mixed-knit, fisherman knit = fisherman knit, pointelle, pointelle knit = pointelle knit,
        popcorn knit = popcorn knit, purl knit = purl-knit, rib knit = ribbed knit, ribbed knit =
        ribbed knit, slub knit = slub knit, slub cotton = slub cotton, stretch knit =
        stretch-knit, sweater knit = sweater-knit, textured knit = textured knit, waffle knit =
        waffle-knit, waffle = waffle-knit, fair isle knit = Fair Isle knit, diamond knit =
        diamond-knit, organza, pima cotton, pique, ponte, ponte knit, poplin, rayon, ripstop,
        sateen, satin, scuba, scuba knit, scuba mesh, seersucker, shearling, silk, suede,
        sweatshirt fleece = fleece, swiss dot = Swiss-dot, taffeta, tapestry, terry, terry cloth,
        terrycloth = terry, textured woven = textured, thermal, thermal knit, thermal waffle =
        thermal waffle-knit, tulle, tweed, twill, velvet, velveteen, velour, viscose, voile, wool,
        wool blend = wool-blend, woven, stretch cotton = stretch-cotton, chino, lace crochet
    """,
    "type": """
        athletic, military, utility
    """,
    "shape": """
        a line = A-line, babydoll, baja = Baja, baseball, biker, bodycon, boyfriend, bustier,
        cami, cami dress = cami, cape, caftan, cocoon, duffle, duster, fit and flare =
        fit-and-flare, fit flare = fit-and-flare, fit & flare = fit-and-flare, flared, flare =
        flared, halter, halter neck = halter, harem, kimono style = kimono-style, maxi, midi,
        mini, moto, muscle, peasant, pea coat = pea, pencil, peplum, prairie, puffer, racerback,
        ringer, rugby, sheath, shift, shirt dress = shirt, skater, slip dress = slip, smock,
        surplice, surplice front = surplice, swing, sweater dress = sweater, t shirt dress =
        t-shirt, tee dress = t-shirt, tank dress = tank, tea dress = tea, track, trapeze, trench,
        tube, tulip, tunic, varsity, windbreaker, wrap, faux wrap = faux-wrap, bandage, overall,
        pj = pajama, pajama, anorak, aviator, fisherman, polo, football
    """,
    "neckline": """
        boat neck = a boat neck, bateau neck = a boat neck, cowl neck = a cowl neck, crew neck = a
        crew neck, crewneck = a crew neck, deep v = a deep V-neck, deep v neck = a deep V-neck,
        double v = a double V-neck, funnel neck = a funnel neck, high collar = a high collar,
        keyhole = a keyhole neckline, lapel = lapels, draped lapel = draped lapels, mandarin
        collar = a mandarin collar, band collar = a band collar, mock neck = a mock neck, mock
        turtleneck = a mock neck, notched lapel = notched lapels, notched collar = a notched
        collar, peter pan collar = a Peter Pan collar, plunging neckline = a plunging neckline,
        plunging = a plunging neckline, plunging neck = a plunging neckline, round neck = a round
        neck, scoop = a scoop neck, scoop neck = a scoop neck, scooped neck = a scoop neck, shawl
        collar = a shawl collar, split neck = a split neck, square neck = a square neckline,
        squared neck = a square neckline, square neckline = a square neckline, sweetheart = a
        sweetheart neckline, sweetheart neckline = a sweetheart neckline, tie neck = a tie neck,
        self tie neck = a tie neck, bow neck = a bow at the neck, turtleneck = a turtleneck,
        turtle neck = a turtleneck, v cut = a V-neck, v neck = a V-neck, v neckline = a V-neck, v
        placket = a V-placket, wide neck = a wide neckline, illusion neckline = an illusion
        neckline, illusion = an illusion neckline, cutout neckline = a cutout neckline, henley = a
        buttoned placket, draped collar = a draped collar, layered collar = a layered collar,
        dropped collar = a dropped collar, drawstring collar = a drawstring collar, contrast
        collar = a contrast collar, zip collar = a zip collar, collar = a collar, spread collar =
        a spread collar
    """,
    "sleeve": """
        angel, batwing = batwing, bell, bishop, cap, cuff = cuffed, cuffed, dolman, drop =
        drop-shoulder, dropped = drop-shoulder, flutter, kimono, petal, print = printed, puff,
        puffed = puff, raglan, ringer, rolled, roll up = rolled, ruched, ruffle = ruffled,
        ruffled, slit, tab = roll-tab, trumpet, tulip, balloon, lantern, striped, stripe =
        striped, flared, layered, cutout, smocked, shirred
    """,
    "detail": """
        bow = a bow, bow back = a bow at the back, tie back = a tie back, button shoulder =
        buttons at the shoulder, buttons = buttons, button = buttons, side button = side buttons,
        button side = side buttons, contrast trim = contrast trim, crossback = a cross back, cross
        back = a cross back, curved hem = a curved hem, round hem = a rounded hem, drawstring = a
        drawstring, drawstring waist = a drawstring waist, double drawstring = a double
        drawstring, dropped hem = a dropped hem, drop hem = a dropped hem, elbow patch = elbow
        patches, elbow patches, fringe = fringe, fringe trim = fringe trim, hidden placket = a
        hidden placket, inverted pleat = an inverted pleat, kangaroo pocket = a kangaroo pocket,
        keyhole back = a keyhole back, ladder back = a ladder back, pocket = a pocket, pockets =
        pockets, patch pocket = a patch pocket, pom pom = pom-poms, pom poms = pom-poms, scoop
        back = a scoop back, side slits = side slits, slits = side slits, slit back = a slit back,
        spaghetti straps = spaghetti straps, studs = studs, suspender = suspenders, t back = a
        T-back, tassels = tassels, toggle = toggles, toggles, topstitched = topstitching, two
        pocket = two pockets, v back = a V-back, y back = a Y-back, vent = a vent, kick pleat = a
        kick pleat, front slit = a front slit, back pleated = a pleated back, pleat back = a
        pleated back, zip back = a zip back, side zip = a side zip, side zipper = a side zip, zip
        = a zip, zippers = zips, side cutout = side cutouts, cutout side = side cutouts, ladder
        cutout = ladder cutouts, lace cutout = lace cutouts, side knot = a side knot, chain trim =
        chain trim, rib trim = ribbed trim, ruffle trim = ruffle trim, ruffles = ruffles, braided
        strap = braided straps, mesh yoke = a mesh yoke, split back = a split back, buttoned back
        = a buttoned back, racer back = a racerback, low back = a low back, hood = a hood, logo =
        a logo, letters = lettering, letter = lettering, lettering, alphabet = lettering, numbers
        = numbers
    """,
}
GROUPS = {
    "style": "style", "weight": "fabric", "fit": "cut", "build": "detail", "work": "detail",
    "texture": "pattern", "pattern": "pattern", "fabric": "fabric", "type": "style", "shape": "cut",
    "neckline": "neckline", "sleeve": "sleeve", "detail": "detail",
}  # fmt: skip

# What is printed, woven or embroidered on cloth: "rose print", "paisley-embroidered".
MOTIFS = """
    abstract, animal, anchor, arrow, athletic, aztec, bamboo, bandana, baroque, bird, boho,
    botanical, brushstroke, butterfly, cactus, camera, cartoon, cat, cheetah, cherry, cherry
    blossom, cloud, crocodile, daisy, damask, diamond, dog, dolphin, dragon, dragonfly, eagle,
    elephant, feather, fish, flamingo, floral, foliage, folk, forget me not, fox, frond, fruit,
    galaxy, geo, giraffe, grid, heart, henna, horse, ikat, landscape, lattice, leaf, leopard,
    lily, lion, lip, map, marble, medallion, moon, mosaic, mushroom, newspaper, ornate, owl,
    paint, paisley, palm, palm leaf, palm tree, panda, parrot, peacock, photo, pineapple, pizza,
    polka dot, prairie, rabbit, rose, safari, scarf, shard, shark, shell, skull, snake, snakeskin,
    southwestern, spot, star, starfish, sunburst, sunflower, sunset, swallow, tapestry, tiger,
    tile, tree, triangle, tribal, tropical, turtle, unicorn, watercolor, wave, windowpane, wolf,
    zebra
"""
STRIPES = "athletic, multi, micro, nautical, rugby, varsity, tonal, chevron, geo, ornate, marled"
# A caption's animal or thing: "a tee with a cat" has a cat on it.
THINGS = """
    anchor, bear, bird, butterfly, cactus, cat, deer, dinosaur, dog, dolphin, eagle, elephant,
    fox, giraffe, heart, horse, leaf, lion, moon, owl, panda, parrot, peacock, pineapple, rabbit,
    shark, skeleton, skull, snake, star, sunflower, tiger, tree, turtle, unicorn, wolf
"""

HYPHENS_NEEDED = ("pocket", "cutout")  # "striped pocket tee" is striped, and has a pocket
# "lace back", "striped hem": a cloth, pattern or make, then a part; "a" where the part is one.
PARTS = {
    "trim": "{} trim", "trimmed": "{} trim", "edged": "{} trim", "panel": "{} panels",
    "paneled": "{} panels", "panels": "{} panels", "panelled": "{} panels", "inset": "{} insets",
    "insert": "{} insets", "back": "a {} back", "front": "a {} front", "hem": "a {} hem",
    "waist": "a {} waist", "yoke": "a {} yoke", "pocket": "a {} pocket", "lined": "a {} lining",
    "collar": "a {} collar", "collared": "a {} collar", "strap": "{} straps",
    "straps": "{} straps", "neck": "a {} neck", "hood": "a {} hood", "cutout": "{} cutouts",
    "placket": "a {} placket", "overlay": "a {} overlay", "piped": "{} piping",
    "bib": "a {} bib", "cuff": "{} cuffs",
}  # fmt: skip
SLEEVES_ALONE = ("batwing", "dolman", "raglan")  # a dolman is one with dolman sleeves
SLEEVE_ENDINGS = ("sleeve", "sleeves", "sleeved")
PRINT_ENDINGS = ("print", "prints", "printed", "pattern", "patterned", "motif", "inspired")
STRIPE_ENDINGS = ("stripe", "stripes", "striped")
MAKES = """
    asymmetrical, banded, beaded, braided, caged = caged, cage = caged, contrast, crisscross,
    curved, cutout, drape = draped, draped, dropped, elasticized, embroidered, fringe = fringed,
    fringed, flounce = flounced, flutter = fluttered, high low = high-low, lace up = lace-up,
    ladder, lattice, layered, open, pleat = pleated, pleated, pintuck = pintucked, pom pom =
    pom-pom, ribbed, rib = ribbed, rolled, ruffle = ruffled, ruffled, sequined, scalloped, sheer,
    shredded, slit, smocked, step, strappy, stripe = striped, striped, studded, surplice, tassel =
    tasseled, tie, tiered, topstitched, tulip, twist = twisted, twisted, vented, zip, zippered,
    crochet, dipped, button, metallic, quilted, print = printed, printed, snap, flared, square
"""

# For which categories a shape is said; all others go with any.
ONLY_FOR = {
    "cami": ("dress", "romper", "jumpsuit"), "shirt": ("dress",), "t-shirt": ("dress",),
    "sweater": ("dress",), "tank": ("dress",), "slip": ("dress",), "tea": ("dress",),
    "muscle": ("tee", "tank", "top"), "trench": ("coat", "jacket"), "pea": ("coat", "jacket"),
    "duffle": ("coat", "jacket"), "duster": ("cardigan", "coat", "jacket", "kimono"),
    "baseball": ("tee", "jersey", "jacket", "top"), "polo": ("dress", "tee"),
    "ringer": ("tee", "dress", "top"), "football": ("tee", "jersey"), "rugby": ("tee", "sweater"),
    "moto": ("jacket", "coat", "blazer"), "biker": ("jacket",), "track": ("jacket",),
    "puffer": ("jacket", "coat", "parka"), "anorak": ("jacket",), "aviator": ("jacket",),
    "windbreaker": ("jacket",), "boyfriend": ("blazer", "jacket", "cardigan", "sweater", "tee"),
    "overall": ("dress",), "pajama": ("top", "blouse", "romper"), "fisherman": ("sweater",),
    "pencil": ("dress",), "bandage": ("dress",),
    "tube": ("dress", "top"), "cape": ("coat", "jacket", "top", "blouse", "poncho"),
    "racerback": ("tank", "tee", "top", "dress", "romper", "jumpsuit"),
    "skater": ("dress", "romper"), "bodycon": ("dress", "romper", "jumpsuit", "top", "tank"),
    "sheath": ("dress",), "shift": ("dress", "top"), "maxi": ("dress", "cardigan", "kimono",
    "coat"), "midi": ("dress", "cardigan"), "mini": ("dress",), "caftan": ("dress", "top"),
    "flared": ("dress", "romper", "jumpsuit", "top"), "tulip": ("dress",), "harem": ("jumpsuit",),
}  # fmt: skip
SLEEVED = ("cuffed",)
BARE_ARMS = ("strapless", "halter", "cami", "tube", "muscle", "racerback", "spaghetti straps")
SHORT_SLEEVES = ("cap", "flutter", "petal", "tulip")
# Said of a category that always is so.
REDUNDANT = {
    "hoodie": ("hooded", "a hood"), "blazer": ("collared", "a collar", "lapels"),
    "henley": ("a buttoned placket", "button-front"), "poncho": ("cape",), "tank": ("tank",),
    "parka": ("anorak",), "kimono": ("kimono-style", "open-front"),
}  # fmt: skip


def parse(entries: str) -> dict[str, str]:
    """Return {phrase as found, without hyphens: phrase as said} of a list of entries."""
    pairs = [entry.partition("=")[::2] for entry in " ".join(entries.split()).split(",")]
    return {found.strip(): (said or found).strip() for found, said in pairs}


def vocabulary() -> dict[str, tuple[str, str]]:
    """Return {phrase as found: (slot, phrase as said)} of all entries.

    Sleeves need the word sleeve beside them, as "bell" alone is a bell, but for a few.
    """
    table = {
        found: (slot, said)
        for slot, entries in ENTRIES.items()
        if slot != "sleeve"
        for found, said in parse(entries).items()
    }
    return table | {word: ("sleeve", word) for word in SLEEVES_ALONE}
