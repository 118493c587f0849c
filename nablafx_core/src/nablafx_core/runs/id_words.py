"""Words of run ids: short, simple, and hard to confuse with each other."""

from __future__ import annotations

ADJECTIVES = """
amber ample arctic ashen autumn azure bold brass brave bright brisk bronze calm candid cedar chalk
civil clear cobalt copper coral cosmic crimson crisp deep dusky eager early ebony fabled fair firm
fleet fluent frosty gentle gilded glad golden grand granite hazel hidden humble indigo iron ivory jade
jolly keen kind lively lucid lunar maple mellow merry misty mossy noble oaken olive opal pale patient
pearl plain polar proud quick quiet rapid rosy royal ruby rustic sage scarlet serene silent silver
smooth snowy solar solid spry steady still stout sunny swift tawny tidal topaz umber velvet vivid warm
wild windy wise witty
"""

NOUNS = """
acorn anchor anvil apple arbor badger banjo basin bay beacon beech bell birch bison brook canyon cello
cliff cloud comet cove crane creek delta dove drum dune eagle elm ember falcon fern finch fjord flute
forest fox garnet geyser glade glen gorge grove gull harbor harp hawk heath heron hill horn island ivy
kestrel lagoon lake lark laurel lute lynx marsh meadow mesa moor moth oak oboe orchid osprey otter owl
panda peak pebble piano pine plover pond poplar quail quartz rapids raven reed reef ridge river robin
sable shore sierra sparrow spruce stork strait summit swan tern thicket thrush tiger trail tuba tulip
valley viola walnut wave willow wren zephyr
"""
