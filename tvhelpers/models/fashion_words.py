"""Words that mini's tokenizer knows beside those of its captions, so that users' prompts split into
few tokens."""

FASHION_WORDS = """
a an the of with and in on for that has is worn by drawn drawing sketch flat photo picture design
fashion garment outfit clothing piece item style look model woman man lady girl boy women men
people front back view studio abstract anorak ankle argyle army asymmetric baggy band beaded
beanie belt belted bib blazer bleached blouse bodysuit boho bold bomber boots bow boxy braided
brand bright brocade buckle burgundy button buttons cable camel camisole camo canvas cap cape
capri cardigan cargo cashmere casual charcoal check checked chequered chic chiffon chino chinos
classic coat collar collared collarless colour color colourful coral corduroy corset cotton cowl
cozy cream crew crewneck crimson crochet crop cropped cuff cuffed cuffs culottes cut cyan dark
denim diagonal dot dots dotted double-breasted drape draped drawstring dress dressy dungarees
elastic elegant embroidered embroidery evening everyday fabric faux feather felt fitted flannel
flared fleece floral flower flowers flowing formal fringe frill fur gabardine geometric gingham
glitter gold golden gown graphic hat heavy heels hem hemp henley herringbone high high-waisted hip
hood hooded hoodie houndstooth indigo ivory jacket jacquard jeans jersey jogger joggers jumper
jumpsuit khaki kilt kimono knee knee-length knit knitted lace lapel lavender leather leggings
length light lilac line lined linen logo long long-sleeve long-sleeved loose low magenta maroon
maxi maxi-length melange merino mesh metallic midi mini minimal minimalist mint modern mohair
mustard navy neck neckline nylon off-shoulder office olive one-piece open organza outerwear
oversize oversized overalls pair paisley pajama pale panel pants parka party pastel patch
patchwork pattern patterned peach peacoat pencil peplum peter pinafore pinstripe plaid plain pleat
pleated plush pocket pockets polka polo poncho poplin print printed puff puffer pullover quilted
raincoat raglan regular relaxed retro ribbed rib ripped robe rolled romper rose round ruched
ruffle ruffled sailor salmon sand sarong satin scarf scoop season sequin shawl sheer shirt
shirtdress shoe shoes short short-sleeve short-sleeved shorts shoulder silk silver simple
single-breasted skater skinny skirt slacks sleeve sleeved sleeveless sleeves slim slip slit smart
smocked sneakers soft solid spaghetti sport sports sporty spring straight straps stretch strap
strapless stripe striped stripes stitched structured suede suit summer sundress suspenders sweater
sweatpants sweatshirt sweatsuit swimsuit t-shirt tailored tan tank tapered tartan taupe teal tee
tie tied tight top tracksuit trench tropical trousers tulle tunic turquoise turtleneck tuxedo
tweed twill uniform v-neck v-neckline velour velvet vest vintage violet viscose waist waisted
waistband waistcoat warm wide wide-leg windbreaker winter wool woollen woven wrap yoke zebra zip
zipped zipper
""".split()
