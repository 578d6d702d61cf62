"""SqueezeNets."""

from tvmconv.workload.networks.network import Network

SQUEEZENET1_0 = Network(
    name="squeezenet1.0",
    definition="Iandola et al. 2016, arXiv 1602.07360; torchvision",
    table="""
1 features.0            ic3ih224oc96oh109kh7sh2ph0
1 features.3.squeeze    ic96ih54oc16oh54kh1ph0
2 features.3.expand1x1  ic16ih54oc64oh54kh1ph0
2 features.3.expand3x3  ic16ih54oc64oh54kh3ph1
1 features.4.squeeze    ic128ih54oc16oh54kh1ph0
1 features.5.squeeze    ic128ih54oc32oh54kh1ph0
1 features.5.expand1x1  ic32ih54oc128oh54kh1ph0
1 features.5.expand3x3  ic32ih54oc128oh54kh3ph1
1 features.7.squeeze    ic256ih27oc32oh27kh1ph0
1 features.7.expand1x1  ic32ih27oc128oh27kh1ph0
1 features.7.expand3x3  ic32ih27oc128oh27kh3ph1
1 features.8.squeeze    ic256ih27oc48oh27kh1ph0
2 features.8.expand1x1  ic48ih27oc192oh27kh1ph0
2 features.8.expand3x3  ic48ih27oc192oh27kh3ph1
1 features.9.squeeze    ic384ih27oc48oh27kh1ph0
1 features.10.squeeze   ic384ih27oc64oh27kh1ph0
1 features.10.expand1x1 ic64ih27oc256oh27kh1ph0
1 features.10.expand3x3 ic64ih27oc256oh27kh3ph1
1 features.12.squeeze   ic512ih13oc64oh13kh1ph0
1 features.12.expand1x1 ic64ih13oc256oh13kh1ph0
1 features.12.expand3x3 ic64ih13oc256oh13kh3ph1
1 classifier.1          ic512ih13oc1000oh13kh1ph0
""",
)

SQUEEZENET1_1 = Network(
    name="squeezenet1.1",
    definition="Iandola et al. 2016, its authors' later version; torchvision",
    table="""
1 features.0            ic3ih224oc64oh111kh3sh2ph0
1 features.3.squeeze    ic64ih55oc16oh55kh1ph0
2 features.3.expand1x1  ic16ih55oc64oh55kh1ph0
2 features.3.expand3x3  ic16ih55oc64oh55kh3ph1
1 features.4.squeeze    ic128ih55oc16oh55kh1ph0
1 features.6.squeeze    ic128ih27oc32oh27kh1ph0
2 features.6.expand1x1  ic32ih27oc128oh27kh1ph0
2 features.6.expand3x3  ic32ih27oc128oh27kh3ph1
1 features.7.squeeze    ic256ih27oc32oh27kh1ph0
1 features.9.squeeze    ic256ih13oc48oh13kh1ph0
2 features.9.expand1x1  ic48ih13oc192oh13kh1ph0
2 features.9.expand3x3  ic48ih13oc192oh13kh3ph1
1 features.10.squeeze   ic384ih13oc48oh13kh1ph0
1 features.11.squeeze   ic384ih13oc64oh13kh1ph0
2 features.11.expand1x1 ic64ih13oc256oh13kh1ph0
2 features.11.expand3x3 ic64ih13oc256oh13kh3ph1
1 features.12.squeeze   ic512ih13oc64oh13kh1ph0
1 classifier.1          ic512ih13oc1000oh13kh1ph0
""",
)
