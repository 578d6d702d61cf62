"""Networks without branches."""

from tvmconv.workload.networks.network import Network

VGG16 = Network(
    name="vgg16",
    definition="Simonyan, Zisserman 2014, arXiv 1409.1556, configuration D; torchvision",
    table="""
1 features.0  ic3ih224oc64oh224kh3ph1
1 features.2  ic64ih224oc64oh224kh3ph1
1 features.5  ic64ih112oc128oh112kh3ph1
1 features.7  ic128ih112oc128oh112kh3ph1
1 features.10 ic128ih56oc256oh56kh3ph1
2 features.12 ic256ih56oc256oh56kh3ph1
1 features.17 ic256ih28oc512oh28kh3ph1
2 features.19 ic512ih28oc512oh28kh3ph1
3 features.24 ic512ih14oc512oh14kh3ph1
""",
)

ALEXNET = Network(
    name="alexnet",
    definition="Krizhevsky 2014, arXiv 1404.5997; torchvision",
    table="""
1 features.0  ic3ih224oc64oh55kh11sh4ph2
1 features.3  ic64ih27oc192oh27kh5ph2
1 features.6  ic192ih13oc384oh13kh3ph1
1 features.8  ic384ih13oc256oh13kh3ph1
1 features.10 ic256ih13oc256oh13kh3ph1
""",
)
